"""Machines by name: which one this is, and whether it serves what names some.

A machine is called what the setting ``MACHINE`` says, else by its host name. Where workers run on several, a
connection says which of them serve it; no names at all mean any machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection

#: Machines that one connection names at most.
MOST = 16
#: What a name is made of.
RULE = "1 to 64 letters, digits, dots, hyphens and underscores"

_LONGEST = 64
_NAME = re.compile(rf"[a-z0-9._-]{{1,{_LONGEST}}}")


def host_name() -> str:
    """What this machine is called where nobody says otherwise: its host name, as far as that is a name."""
    return re.sub("[^a-z0-9._-]", "-", os.uname().nodename.lower())[:_LONGEST] or "localhost"


def read_name(value: object) -> str:
    """A machine's name; upper and lower case count as one.

    Raises:
        ValueError: it is none.
    """
    name = value.strip().lower() if isinstance(value, str) else ""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{str(value)[:80]!r} is no name of a machine: {RULE}.")
    return name


def serves(machine: str, machines: Collection[str] | None) -> bool:
    """Whether *machine* is one of *machines*; where none are named, any is."""
    return not machines or machine in machines


def none_runs(machines: Collection[str]) -> str:
    """That no worker is there for what only these machines do, as a sentence without its full stop."""
    names = ", ".join(sorted(machines))
    if len(machines) == 1:
        return f"No worker on machine {names} is running"
    return f"No worker on any of the machines {names} is running"
