"""Numbers in addresses and forms that are none, or are far too long; and a host among very many."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from omserver_web.numbers import number
from omserver_web.settings import BadSetting, from_environment
from tests.console_rig import HOSTS, Browser, FakeMaster

#: int() fails on the first, is fooled by the second, refuses the fourth; the third is no id of a database.
BAD = ["²", "٣", "9" * 20, "1" * 4400, "-1", "+1", "1_0", "1.5", "0x1", " ", "x", "1\n"]


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


@pytest.fixture
def browser(tmp_path: Path, master: FakeMaster) -> Browser:
    browser = Browser(tmp_path, master)
    browser.sign_in()
    return browser


@pytest.mark.parametrize("text", [*BAD, "", None])
def test_what_is_no_number_of_ours_is_none(text: str | None) -> None:
    assert number(text) is None


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), ("007", 7), ("9" * 15, 10**15 - 1)])
def test_a_number_is_read(text: str, value: int) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/run", ["categ", "app"]),
        ("/hosts", ["categ", "app", "offset"]),
        ("/jobs", ["before"]),
        ("/audit", ["before"]),
        ("/jobs/7", ["after"]),
        ("/jobs/7/hosts/1", ["offset"]),
        ("/jobs/7/changes", ["since"]),
        ("/jobs/7/events", ["since"]),
    ],
)
def test_a_bad_number_in_a_query_does_not_count(
    browser: Browser, master: FakeMaster, path: str, names: list[str]
) -> None:
    for name, bad in product(names, BAD):
        answer = browser.get(path, query_string={name: bad})
        assert answer.status_code == 200, (name, bad)
        answer.close()
    for _op, args, _session, _key in master.calls:
        numbers = [value for value in args.values() if isinstance(value, int)]
        assert all(0 <= value < 10**15 for value in numbers), args


def test_a_job_that_is_no_number_is_not_found(browser: Browser) -> None:
    for bad in BAD:
        assert browser.get("/run", query_string={"from": bad}).status_code == 404, bad


@pytest.mark.parametrize("bad", ["9" * 20, "1" * 4400, "٣", "²"])
@pytest.mark.parametrize(
    "path", ["/jobs/{}", "/jobs/{}/events", "/jobs/7/hosts/{}", "/jobs/{}/hosts/1/stdout.txt"]
)
def test_an_address_with_a_bad_number_is_not_found(browser: Browser, path: str, bad: str) -> None:
    assert browser.get(path.format(bad)).status_code == 404


def test_a_form_with_a_bad_host_runs_nothing(browser: Browser, master: FakeMaster) -> None:
    fields: dict[str, Any] = {"module": "1001", "params_of": "1001", "host": ["web-01"], "key": "k"}
    for bad in BAD:
        assert browser.send("/run", **fields, host_id=["1", bad]).status_code == 400, bad
    assert master.asked("job.submit") == []


def test_a_confirmation_that_is_no_number_confirms_nothing(browser: Browser, master: FakeMaster) -> None:
    master.confirm = 3
    fields: dict[str, Any] = {"module": "1001", "params_of": "1001", "host": ["web-01"], "key": "k"}
    for bad in BAD:
        assert browser.send("/run", **fields, host_id=["1"], confirm=bad).status_code == 400, bad
    assert master.made == {}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["WEB_PORT", "RPYC_PORT", "WEB_STREAMS", "WEB_WORKERS"])
def test_a_setting_that_is_no_number_is_named(tmp_path: Path, name: str, bad: str) -> None:
    with pytest.raises(BadSetting, match=f"OMSERVER_{name} must be a whole number") as refused:
        from_environment({"OMSERVER_HOME": str(tmp_path), f"OMSERVER_{name}": bad})
    assert len(str(refused.value)) < 200


def named(master: FakeMaster, names: list[str]) -> None:
    """Let *master* know hosts of these names; it searches as the real one does, whatever the case."""
    hosts = [{**HOSTS[0], "id": number, "name": name} for number, name in enumerate(names, start=1)]

    def listed(search: str = "", limit: int = 200, offset: int = 0, **_more: Any) -> dict[str, Any]:
        found = [host for host in hosts if search.lower() in host["name"].lower()]
        return {"hosts": found[offset : offset + limit], "total": len(found)}

    master._hosts_list = listed  # type: ignore[method-assign]


@pytest.mark.parametrize("count", [201, 2500])
def test_a_host_is_found_among_many_that_contain_its_name(
    browser: Browser, master: FakeMaster, count: int
) -> None:
    named(master, [*(f"a{number:04}-web" for number in range(count)), "Web"])
    for spelling in ("Web", "web", "WEB"):
        answer = browser.get(f"/hosts/{spelling}")
        assert answer.status_code == 200
        assert '<h1 class="mono">Web ' in answer.text


def test_a_host_that_only_contains_the_name_is_not_it(browser: Browser, master: FakeMaster) -> None:
    named(master, [f"web-{number}" for number in range(2500)])
    assert browser.get("/hosts/web").status_code == 404


def test_a_name_that_no_host_can_have_is_not_searched(browser: Browser, master: FakeMaster) -> None:
    assert browser.get("/hosts/" + "x" * 300).status_code == 404
    assert master.asked("hosts.list") == []
