"""Which promise makes no sense for which kind, and why. Everything else is tried on every kind.

    @left_out(NO_COMMANDS)
    def test_a_script_runs_as_it_is(rig, backend): ...

Nothing is skipped: such a test does not exist for that kind, and ``test_promises.py`` holds this list short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from omserver_master.backends import KINDS

Test = TypeVar("Test", bound=Callable[..., object])

#: The invented hosts understand echo, sleep and exit, and nothing else of a shell.
NO_COMMANDS = {"sim": "no command is run: its hosts are invented, and obey echo, sleep and exit only"}
NO_HOST_DIES = {"local": "the only host is the machine that the tests run on"}
NO_CONTROL = {
    "local": "there is nothing between the worker and its own machine",
    "ssh": "there is nothing between the worker and the hosts",
    "ansible": "the process that has Ansible loaded belongs to the worker, and ends with it",
    "exec": "there is nothing between the worker and the hosts",  # the example of docs/backends.md
}
NO_LIAR = {
    "local": "all hosts are one machine: there is nobody else to speak for",
    "sim": "one process plays all hosts, and speaks for each of them",
}
NO_NAMES = {
    "local": "whatever its name, a host is this machine",
    "sim": "whatever its name, a host can be invented",
}

#: Kinds that are no way to another machine; only for these may a promise about hosts be left out.
ON_THIS_MACHINE = ("local", "sim")


def left_out(*reasons: Mapping[str, str]) -> Callable[[Test], Test]:
    """Mark a test whose promise makes no sense for the kinds named in *reasons*."""

    def mark(test: Test) -> Test:
        test.left_out = {kind: why for table in reasons for kind, why in table.items()}  # type: ignore[attr-defined]
        return test

    return mark


def kinds_of(test: Callable[..., object]) -> list[str]:
    """The kinds that a test is run on."""
    return [kind for kind in KINDS if kind not in getattr(test, "left_out", {})]
