"""omctl job rerun, job tail, and hosts that are tried again until a time."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import click
import pytest

from omserver_client.omctl.when import moment
from tests.integration.fake_master import FakeMaster, job, result
from tests.integration.omctl.terminal import RUN, Omctl


@pytest.mark.parametrize("on", ["failed", "unreachable", "unfinished", "all"])
def test_a_rerun_says_which_hosts_are_meant_and_is_followed(
    logged_in: FakeMaster, omctl: Omctl, on: str
) -> None:
    ended = omctl("job", "rerun", "7", f"--{on}")
    assert ended.code == 0
    assert "Job 7 succeeded, 2 ok" in ended.out
    sent = logged_in.sent("job.rerun")
    assert sent.args == {"job": 7, "on": on}
    assert sent.key, "a rerun must carry an idempotency key"


def test_a_rerun_on_named_hosts_with_options(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.confirm = 2
    logged_in.warnings = [{"code": "gone", "text": "web-09 is retired, so it is left out.", "host": "web-09"}]
    words = ["--host", "web-01", "--host", "web-02", "--dry-run", "--yes", "--no-wait", "--key", "k"]
    ended = omctl("job", "rerun", "7", *words)
    assert (ended.code, "Follow it: omctl job tail 7" in ended.out) == (0, True)
    assert "web-09 is retired" in ended.err
    sent = logged_in.sent("job.rerun")
    assert sent.args == {"job": 7, "hosts": ["web-01", "web-02"], "dry_run": True, "confirm": 2}
    assert sent.key == "k"


def test_a_rerun_that_needs_a_confirmation_is_not_started_without_one(
    logged_in: FakeMaster, omctl: Omctl
) -> None:
    logged_in.confirm = 2
    ended = omctl("job", "rerun", "7", "--failed")
    assert (ended.code, "--confirm 2" in ended.err) == (2, True)
    assert "job.rerun" not in [request.op for request in logged_in.requests]


@pytest.mark.parametrize("words", [[], ["--failed", "--host", "web-01"]])
def test_which_hosts_must_be_said_in_one_way(logged_in: FakeMaster, omctl: Omctl, words: list[str]) -> None:
    ended = omctl("job", "rerun", "7", *words)
    assert (ended.code, "Say which hosts" in ended.err) == (2, True)


def test_tail_follows_to_the_end_and_ends_as_the_run_would(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.results = [result(1, "ok"), result(2, "unreachable", reason="no answer")]
    logged_in.job = job("failed", ok=1, unreachable=1)
    ended = omctl("job", "tail", "7")
    assert ended.code == 3
    assert [line.split()[:2] for line in ended.out.splitlines()[:2]] == [
        ["ok", "web-01"],
        ["unreachable", "web-02"],
    ]
    assert omctl("job", "tail", "7", "--json").document["job"]["id"] == 7  # type: ignore[index]
    assert omctl("job", "tail", "8").code == 2


def test_show_can_be_of_one_state(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.results = [result(1, "ok"), result(2, "failed")]
    document = omctl("job", "show", "7", "--state", "failed", "--json").document
    assert [row["host"] for row in document["results"]] == ["web-02"]  # type: ignore[attr-defined]
    assert "web-01" not in omctl("job", "show", "7", "--state", "failed").out


AGAIN: dict[str, Any] = {
    "off": 1,
    "of": 2,
    "tries": [8, 9],
    "at_work": 9,
    "next": None,
    "until": 1_700_003_600.0,
    "over": False,
}


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (AGAIN, "2 hosts were off, 1 still; tried again by job 9 until "),
        (AGAIN | {"at_work": None, "next": 1_700_000_060.0}, ", next at "),
        (AGAIN | {"at_work": None, "over": True}, ": 1 did not answer"),
        (AGAIN | {"at_work": None, "over": True, "off": 0, "of": 1}, "1 host was off; tried again until "),
    ],
)
def test_show_says_what_came_before_and_after(
    logged_in: FakeMaster, omctl: Omctl, again: dict[str, Any], said: str
) -> None:
    reruns = [{"id": 8, "state": "failed"}, {"id": 9, "state": "running"}]
    logged_in.job |= {"rerun_of": 5, "reruns": reruns, "again": again}
    out = omctl("job", "show", "7").out
    assert "Again after job 5" in out
    assert "Done again: job 8 (failed), 9 (running)" in out
    assert said in out


def test_until_is_a_moment(logged_in: FakeMaster, omctl: Omctl) -> None:
    assert omctl(*RUN, "--until", "+2h").code == 0
    assert logged_in.sent("job.submit").args["until"] == pytest.approx(time.time() + 7200, abs=30)
    assert moment("2026-11-27T18:00+01:00") == 1795798800
    local = datetime(2026, 11, 27, 18).astimezone().timestamp()
    assert moment("2026-11-27 18:00") == local
    ended = omctl(*RUN, "--until", "fri 18:00")
    friday = datetime.fromtimestamp(logged_in.sent("job.submit").args["until"])
    assert (friday.weekday(), friday.hour, friday.minute) == (4, 18, 0)
    assert f"tried again until Friday {friday:%Y-%m-%d} 18:00:00" in ended.err
    for wrong in ("fr", "+2", "2h", "+2y", ""):
        with pytest.raises(click.BadParameter, match="is no time"):
            moment(wrong)
    assert omctl(*RUN, "--until", "soon").code == 2
