"""A StateModule: states of the Salt master with typed parameters."""

from __future__ import annotations

from typing import Any

import pytest

from omserver_master import Bool, Choices, Int, Number, StateModule, Text
from omserver_master.backends.onhost import pack
from omserver_master.backends.salt.state import as_script
from omserver_master.backends.salt.stateonhost import tell
from omserver_master.contract.enginework import State
from omserver_master.contract.mistakes import ModuleMistake


class Nginx(StateModule):
    workers = Int(default=4, maximum=64)
    ratio = Number(default="0.10", maximum=1)
    debug = Bool(default=False)
    sites = Choices("a", "b")
    title = Text(default="{{ 7*7 }}", pattern=".*")
    sls = "web.nginx", "web.sites"


def work(dry_run: bool = False) -> State:
    module = Nginx("2001", [], {"workers": "8", "sites": "a,b"})
    module.dry_run = dry_run
    steps = module.steps(None)  # type: ignore[arg-type]
    found: Any = next(steps)  # type: ignore[arg-type]
    return found


def test_parameters_are_pillar_in_their_own_types() -> None:
    pillar = {"workers": 8, "ratio": 0.1, "debug": False, "sites": ["a", "b"], "title": "{{ 7*7 }}"}
    assert work() == State(("web.nginx", "web.sites"), {"om": pillar}, timeout=600)
    assert work().pillar == {"om": pillar}


def test_a_dry_run_is_a_test() -> None:
    assert (work().test, work(dry_run=True).test) == (False, True)
    assert Nginx.check is True
    assert (Nginx.repeat, Nginx.engines) == ("idempotent", ("salt", "salt-api"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sls", "../secret"),
        ("sls", ("web", "a b")),
        ("sls", ["web"]),
        ("sls", 5),
        ("engines", ("ansible",)),
        ("engines", ()),
        ("pillar_root", ""),
        ("saltenv", 1),
    ],
)
def test_a_mistake_is_told_by_the_name_of_the_attribute(name: str, value: object) -> None:
    with pytest.raises(ModuleMistake) as error:
        type("Wrong", (StateModule,), {"sls": "web", name: value})
    assert error.value.args[0] == name or name in str(error.value)


def test_without_a_state_there_is_nothing_to_apply() -> None:
    with pytest.raises(ModuleMistake, match="sls"):
        type("Empty", (StateModule,), {}).check_complete()  # type: ignore[attr-defined]
    Nginx.check_complete()


def test_the_pillar_is_on_no_command_line() -> None:
    script = as_script(State("web", {"om": {"word": "canary-4711"}}))
    assert "canary-4711" not in script.text
    assert b"canary-4711" in script.stdin
    assert pack(script, 10)


def state(result: bool | None, number: int = 1, **more: Any) -> dict[str, Any]:
    return {"result": result, "changes": {}, "comment": "", "__run_num__": number, "__id__": "it", **more}


KEY = "file_|-it_|-/etc/it_|-managed"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({KEY: state(True)}, ("ok  it  file.managed  /etc/it\n", "", 0)),
        ({}, ("", "", 0)),
        (
            {KEY: state(True, changes={"diff": "New\nfile"})},
            ('changed  it  file.managed  /etc/it  {"diff": "New\\nfile"}\n', "", 0),
        ),
        ({KEY: state(None, changes={})}, ("would change  it  file.managed  /etc/it\n", "", 0)),
        (
            {KEY: state(True), KEY + "2": state(False, 2, comment="no")},
            ("failed  it  file.managed2  /etc/it\nok  it  file.managed  /etc/it\n", "it: no\n", 2),
        ),
        (["Rendering SLS failed", "line 2"], ("", "Rendering SLS failed\nline 2\n", 2)),
        ("rubbish", ("", "rubbish\n", 2)),
        (None, ("", "None\n", 2)),
        ({"key": "no state"}, ("", "{'key': 'no state'}\n", 2)),
    ],
)
def test_what_salt_returns_is_told_in_lines(result: Any, told: tuple[str, str, int]) -> None:
    assert tell(result) == told
