"""How a host's part of a module ends: what ``steps`` returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ok:
    """It worked. *text*, if any, is shown for the host beside its output."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """It ran and did not work; *reason* is one line for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """The module does not apply to this host; *reason* is one line for people."""

    reason: str


#: Everything that ``steps`` may return, beside None.
End = Ok | Failed | Skipped
