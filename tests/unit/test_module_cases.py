"""Every modules/cases/Mid_*/*.json is a test: adding a case needs no Python.

A case gives ``params`` (by name or in order) and perhaps ``host`` (its ``os_family`` and so on). Then either
``error``, with the ``param`` that is refused and a part of the ``reason``; or any of

    command   the shell text of the first step
    work      the steps; each names the fields that matter, bytes as text
    answers   what the host answers to each step: ``rc`` 0 and ``state`` "done" unless said otherwise
    end       how it ends: ``state``, and ``reason`` and ``text`` if they matter
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_client.errors import InvalidParam
from omserver_master.contract.hosts import Host
from omserver_master.contract.work import Answer
from omserver_master.registry.driving import HostSteps
from omserver_master.registry.loading import describe, forget, load

MODULES = Path(__file__).resolve().parents[2] / "modules"
#: Those that come with OMServer; a site's own need no case, nor words in two languages.
STOCK = [MODULES / f"Mid_100{n}.py" for n in range(1, 8)]
CASES = sorted(MODULES.glob("cases/Mid_*/*.json"))
FIELDS = {"params", "host", "command", "work", "answers", "end", "error"}


@pytest.fixture(params=STOCK, ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def handle(file: Path) -> Iterator[Any]:
    yield load(str(file), file.read_bytes())
    forget(str(file))


def read_bytes_as_text(work: dict[str, Any]) -> dict[str, Any]:
    encoded = {name: work[name] for name in ("stdin", "content") if name in work}
    return work | {name: base64.b64decode(text).decode() for name, text in encoded.items()}


def read_answer(fields: dict[str, Any]) -> Answer:
    state = fields.get("state", "done")
    rc = fields.get("rc", 0 if state == "done" else None)
    stdout, stderr = (fields.get(name, "").encode() for name in ("stdout", "stderr"))
    return Answer(state, rc, stdout, stderr, reason=fields.get("reason", ""))


def begin(handle: Any, host: Host, case: dict[str, Any], file: Path) -> HostSteps:
    module = handle(file.stem[4:], [host], case["params"])
    module.before([host])
    return HostSteps(module, host, str(file))


def play(steps: HostSteps, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The work that came, until the module ends or the answers do."""
    works = [steps.advance(None)]
    for answer in answers:
        assert works[-1] is not None, f"it ended before its last answer: {steps.end}"
        works.append(steps.advance(read_answer(answer)))
    return [read_bytes_as_text(work) for work in works if work is not None]


def check(steps: HostSteps, case: dict[str, Any]) -> None:
    works = play(steps, case.get("answers", []))
    if "command" in case:
        assert works[0]["shell"] == case["command"]
    if "work" in case:
        assert len(works) == len(case["work"])
    for work, expected in zip(works, case.get("work", []), strict=False):
        assert {name: work.get(name) for name in expected} == expected
    if "end" in case:
        assert steps.end is not None, "the module waits for another answer"
        assert {name: steps.end[name] for name in case["end"]} == case["end"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_case(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    assert set(case) <= FIELDS, "a misspelt field would test nothing"
    file = MODULES / f"{path.parent.name}.py"
    handle = load(str(file), file.read_bytes())
    host = Host(**{"name": "web-01", "ip": "192.0.2.1", "os_family": "debian"} | case.get("host", {}))
    try:
        if "error" in case:
            with pytest.raises(InvalidParam) as caught:
                handle(file.stem[4:], [host], case["params"])
            assert caught.value.details["param"] == case["error"]["param"]
            assert case["error"]["reason"] in caught.value.details["reason"]
        else:
            check(begin(handle, host, case, file), case)
    finally:
        forget(str(file))


def test_every_stock_module_has_titles_in_two_languages_and_two_cases(handle: Any, file: Path) -> None:
    description = describe(handle)
    assert description["title"]
    assert re.search(r"[\u4e00-\u9fff]", description["title_zh"])
    assert re.search(r"[\u4e00-\u9fff]", description["caption_zh"])
    assert len([case for case in CASES if case.parent.name == file.stem]) >= 2


def test_every_parameter_has_labels_and_help_in_two_languages(handle: Any) -> None:
    for param in describe(handle)["params"]:
        assert param["label"]
        assert param["help"]
        assert re.search(r"[\u4e00-\u9fff]", param["label_zh"] + param["help_zh"])


def test_show_modules_change_nothing_and_others_say_what_a_repeat_means(handle: Any, file: Path) -> None:
    expected = {"Mid_1005": "idempotent", "Mid_1007": "once"}.get(file.stem, "read_only")
    assert handle.repeat == expected


def scripts_of(handle: Any) -> list[str]:
    own = vars(sys.modules[handle.__module__]).values()
    texts = [text for text in own if isinstance(text, str) and text.startswith("#!")]
    return [*texts, *([handle.script_text()] if getattr(handle, "script", None) else [])]


@pytest.mark.parametrize(
    "checker", [["shellcheck", "-s", "sh", "-"], ["dash", "-n"], ["busybox", "sh", "-n"]], ids=lambda c: c[0]
)
def test_every_script_is_clean_posix_shell(handle: Any, checker: list[str]) -> None:
    for text in scripts_of(handle):
        try:
            answer = subprocess.run(checker, input=text, capture_output=True, text=True, timeout=30)
        except FileNotFoundError:
            pytest.skip(f"{checker[0]} is not installed")
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_file_that_a_module_copies_is_there(handle: Any) -> None:
    apps = vars(sys.modules[handle.__module__]).get("APPS", {})
    module = handle("1005", [], ["nginx"]) if apps else None
    for app in apps.values():
        assert module.file(app.source)
