"""Parameters of every shape on every page that shows them, and in a job that is run again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from omserver_client.errors import InvalidParam
from tests.console_rig import MODULES, Browser, FakeMaster, module, param, result

#: Every page that shows what a job was given.
PAGES = [
    "/jobs",
    "/jobs/7",
    "/jobs/7/groups",
    "/jobs/7/changes",
    "/jobs/7/events",
    "/hosts/web-01",
    "/search?q=1001",
    "/run?from=7",
]
#: What jobs are given, and what pages show of it.
SHAPES: dict[str, tuple[Any, list[str]]] = {
    "true": ({"flag": True}, ["flag", "yes"]),
    "false": ({"flag": False}, ["flag", "no"]),
    "number": ({"count": 12}, ["count", "12"]),
    "nothing": ({"count": None}, ["count"]),
    "a list": ({"files": ["x y", "z"]}, ["files", "x y, z"]),
    "a list of numbers": ({"ports": [80, 443]}, ["ports", "80, 443"]),
    "places": (["first word", "second"], ["1", "first word", "2", "second"]),
    "no places": ([], []),
    "none at all": ({}, []),
}
DIRECT = module("2010", "An old one", direct=True)


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


@pytest.fixture
def browser(tmp_path: Path, master: FakeMaster) -> Browser:
    browser = Browser(tmp_path, master)
    browser.sign_in()
    return browser


@pytest.fixture
def old_module() -> Iterator[str]:
    """The number of a module that takes its parameters by their place."""
    MODULES.append(DIRECT)
    yield DIRECT["id"]
    MODULES.remove(DIRECT)


def shown_params(text: str) -> list[str]:
    """Names and values as a page of a job shows them, one after the other."""
    found = re.findall(r'<span class="param"><b>([^<]*)</b>=<code>([^<]*)</code>', text)
    return [unescape(each) for pair in found for each in pair]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_page_takes_every_shape(browser: Browser, master: FakeMaster, shape: str) -> None:
    master.job = {**master.job, "params": SHAPES[shape][0]}
    for path in PAGES:
        assert browser.get(path).status_code == 200, path


@pytest.mark.parametrize("shape", SHAPES)
def test_a_job_says_what_it_was_given(browser: Browser, master: FakeMaster, shape: str) -> None:
    given, shown = SHAPES[shape]
    master.job = {**master.job, "params": given}
    found = [each for each in shown_params(browser.get("/jobs/7").text) if each]
    assert found == shown


@pytest.mark.parametrize("shape", SHAPES)
def test_a_check_says_what_will_be_given(browser: Browser, master: FakeMaster, shape: str) -> None:
    given, shown = SHAPES[shape]
    preview = FakeMaster._job_preview(master, "1001", {}, ["web-01"])
    master._job_preview = lambda **more: {**preview, "params": given}  # type: ignore[method-assign]
    answer = browser.get("/run?module=1001&host=web-01")
    values = re.findall(r"<dt>([^<]*)</dt><dd><code>([^<]*)</code>", answer.text)
    assert answer.status_code == 200
    assert [each.replace("\n", ", ") for pair in values for each in pair if each] == shown


@pytest.mark.parametrize(
    ("default", "shown"), [(True, "yes"), (["a", "b"], "a, b"), (1.5, "1.5"), ("x", "x"), (0, "0")]
)
def test_a_module_says_its_defaults(browser: Browser, default: object, shown: str) -> None:
    MODULES.append(module("2999", "Defaults", params=[param("one", "text", default=default)]))
    try:
        text = browser.get("/modules/2999").text
    finally:
        MODULES.pop()
    assert re.search(rf'<td class="mono">{shown}</td></tr>', text)


def run_again(browser: Browser, master: FakeMaster, number: str, params: Any) -> Any:
    """Open the Run page of a job with *params*, press its button, and answer what the master was sent."""
    master.job = {**master.job, "module": number, "params": params}
    text = browser.get("/run?from=7").text
    form = text[text.index('<form id="check"') :]
    names = re.findall(r'name="(p\.[^"]+)" hidden>\n([^<]*)</textarea>', form)
    typed: dict[str, list[str]] = {}
    for name, content in names:
        typed.setdefault(name, []).append(unescape(content))
    browser.send("/run", module=number, params_of=number, host=["web-01"], host_id=["1"], key="k", **typed)
    return master.asked("job.submit")[-1]["params"]


def test_a_job_that_is_run_again_gets_what_it_got_before(browser: Browser, master: FakeMaster) -> None:
    given = {"days": ["mon", "tue"], "files": ["x y", "it's"], "force": True}
    sent = run_again(browser, master, "2001", given)
    assert sent == {"days": ["mon", "tue"], "files": ["x y", "it's"], "force": "true"}


def test_the_form_of_a_job_that_is_run_again_shows_what_it_got(browser: Browser, master: FakeMaster) -> None:
    given = {"days": ["tue"], "files": ["x y", "z"], "force": True}
    master.job = {**master.job, "module": "2001", "params": given}
    text = browser.get("/run?from=7").text
    assert re.search(r'<textarea[^>]*id="f-files"[^>]*>\nx y\nz</textarea>', text)
    assert re.search(r'name="p.days" value="tue" checked', text)
    assert re.search(r'name="p.days" value="mon">', text)
    assert re.search(r'name="p.force" value="true" checked', text)


def test_a_no_stays_a_no_when_the_default_is_yes(browser: Browser, master: FakeMaster) -> None:
    MODULES.append(module("2999", "Yes", params=[param("flag", "bool", default=True)]))
    try:
        assert run_again(browser, master, "2999", {"flag": False}) == {"flag": "false"}
    finally:
        MODULES.pop()


@pytest.mark.parametrize("places", [["one", "x y"], ["one", "", "three"], ["", "two"], []])
def test_places_are_sent_in_their_order(
    browser: Browser, master: FakeMaster, old_module: str, places: list[str]
) -> None:
    assert run_again(browser, master, old_module, places) == places


def test_empty_lines_at_the_end_are_no_places(browser: Browser, master: FakeMaster, old_module: str) -> None:
    fields = {"module": old_module, "params_of": old_module, "host_id": ["1"], "key": "k"}
    browser.send("/run", **fields, **{"p.places": "one\r\n\r\nthree\r\n\r\n\r\n"})
    assert master.asked("job.submit")[-1]["params"] == ["one", "", "three"]


def test_a_fault_at_a_place_is_said_at_the_field_of_all(
    browser: Browser, master: FakeMaster, old_module: str
) -> None:
    def refuse(op: str) -> None:
        if op == "job.preview":
            raise InvalidParam("Parameter 2 must be text.", param="2", reason="must be text")

    master.before = refuse
    text = browser.get(f"/run?module={old_module}&params_of={old_module}&host=web-01&p.places=a%0Ab").text
    assert 'aria-invalid="true"' in text[text.index('data-field="places"') :]


@pytest.mark.parametrize("count", [499, 500, 501, 1200])
def test_a_job_is_run_again_on_all_its_hosts(browser: Browser, master: FakeMaster, count: int) -> None:
    hosts = [{"id": number, "name": f"web-{number}", "lip": ""} for number in range(1, count + 1)]
    master.results = [result(host, "ok", 1) for host in hosts[:-1]] + [result(hosts[-1], "failed", 1)]
    assert f"{count} hosts picked" in browser.get("/run?from=7").text
    text = browser.get("/run?from=7&only=failed").text
    assert "1 host picked" in text
    assert f'value="web-{count}" checked' in text
