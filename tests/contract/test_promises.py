"""Every kind has a rig and keeps every promise, but for those that make no sense for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from omserver_master.backends import KINDS

from . import promises
from .promises import ON_THIS_MACHINE, kinds_of
from .rig import NotPossible, Rig, load_rig

TABLES = {name: table for name, table in vars(promises).items() if name.startswith("NO_")}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_rig(kind: str) -> None:
    assert issubclass(load_rig(kind), Rig)


def test_a_kind_without_a_rig_fails_the_suite() -> None:
    with pytest.raises(LookupError, match="telnet"):
        load_rig("telnet")


def test_only_kinds_that_reach_no_other_machine_are_excused_and_each_with_a_reason() -> None:
    for name, table in TABLES.items():
        assert all(reason for reason in table.values())
        if name != "NO_CONTROL":
            assert set(table) <= set(ON_THIS_MACHINE), name


def test_every_test_of_a_promise_is_run_on_every_real_kind() -> None:
    tests: dict[str, Callable[..., object]] = {}
    for file in Path(__file__).parent.glob("test_*.py"):
        found = vars(import_module(f"tests.contract.{file.stem}"))
        tests |= {name: thing for name, thing in found.items() if name.startswith("test_")}
    assert len(tests) > 30
    for name, test in tests.items():
        without = set(KINDS) - set(kinds_of(test))
        if "control_point" not in name:
            assert without <= set(ON_THIS_MACHINE), name


def test_who_is_excused_from_a_control_point_has_none_and_everybody_else_has(rig: Rig) -> None:
    """Looked at in the code: whoever has one overrides more than a refusal."""
    refuses = _refuses(rig.stop_control)
    assert refuses == (rig.kind in promises.NO_CONTROL)
    with contextlib.suppress(KeyError):
        assert promises.NO_CONTROL[rig.kind]


def _refuses(stop: Callable[[], None]) -> bool:
    names = stop.__code__.co_names  # type: ignore[attr-defined]
    if NotPossible.__name__ not in names:
        return False
    with pytest.raises(NotPossible):
        stop()
    return True
