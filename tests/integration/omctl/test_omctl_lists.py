"""omctl: what there is to see: modules, hosts, jobs, the state of the site."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fake_master import FakeMaster
from tests.integration.omctl.terminal import Omctl


def test_modules_show_their_parameters_and_a_broken_one_its_line(logged_in: FakeMaster, omctl: Omctl) -> None:
    listed = omctl("modules")
    assert "lines=50" in listed.out
    assert "line 3: invalid syntax" in listed.out
    assert "1 to 1000" in omctl("modules", "1001").out
    assert [module["id"] for module in omctl("modules", "--json").document["modules"]] == ["1001", "2001"]  # type: ignore[attr-defined, index, misc]


def test_hosts_are_filtered_by_the_names_of_categories(logged_in: FakeMaster, omctl: Omctl) -> None:
    assert "web-01" in omctl("hosts", "--category", "linux.web", "--app", "www", "--search", "web").out
    assert logged_in.sent("hosts.list").args == {
        "categ_id": 1,
        "app_id": 5,
        "search": "web",
        "limit": 500,
        "offset": 0,
    }
    ended = omctl("hosts", "--category", "nothing")
    assert ended.code == 2
    assert "Linux.Web" in ended.err


def test_what_a_table_holds_cannot_act_on_the_terminal(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.host = logged_in.host | {"os": "Debian\x1b[2J\n12"}
    assert "Debian\\x1b[2J\\n12" in omctl("hosts").out


def test_jobs_and_a_job_are_shown(logged_in: FakeMaster, omctl: Omctl) -> None:
    assert "2 ok" in omctl("jobs", "--state", "succeeded", "--host", "web-01").out
    assert logged_in.sent("job.list").args == {"limit": 20, "state": "succeeded", "host": "web-01"}
    omctl("jobs", "--since", "2026-11-20 10:00+00:00", "--until", "2026-11-20T12:00Z")
    assert logged_in.sent("job.list").args == {
        "limit": 20,
        "since": 1_795_168_800.0,
        "until": 1_795_176_000.0,
    }
    assert "dry run" not in omctl("jobs").out
    logged_in.job = logged_in.job | {"dry_run": True}
    assert f"{logged_in.job['title']} (dry run) " in omctl("jobs").out
    shown = omctl("job", "show", "7")
    assert "web-02" in shown.out
    assert shown.code == 0
    assert omctl("job", "show", "7", "--json").document["results"][1]["host"] == "web-02"  # type: ignore[index]
    assert "cancelling" in omctl("job", "cancel", "7").out
    assert omctl("job", "show", "8").code == 2


def test_status_shows_what_is_down_and_why(logged_in: FakeMaster, omctl: Omctl) -> None:
    ended = omctl("status")
    assert ended.code == 0
    assert "down" in ended.out
    assert "no answer" in ended.out


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"apps": ["nginx", "a b"], "force": True}, "-p apps=nginx -p 'apps=a b' -p force=true"),
        (["first", "", "it's"], "--arg first --arg '' --arg 'it'\"'\"'s'"),
        ({}, ""),
        ([], ""),
        (["\x1b[2J\n"], "--arg '\\x1b[2J\\n'"),
    ],
)
def test_a_job_shows_its_parameters_as_they_are_given(
    logged_in: FakeMaster, omctl: Omctl, params: Any, words: str
) -> None:
    logged_in.job = logged_in.job | {"params": params}
    shown = omctl("job", "show", "7")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[0] == f"1001 {logged_in.job['title']} {words}".rstrip()


def test_a_module_that_takes_parameters_by_position_says_how(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.module = logged_in.module | {"direct": True, "params": []}
    assert "omctl run 1001 --host NAME --arg VALUE ..." in omctl("modules", "1001").out
