"""What the master can be asked for; one file per noun."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from .table import OPERATIONS, Operation

NOUNS = (
    "auth",
    "hosts",
    "connections",
    "imports",
    "modules",
    "jobs",
    "pins",
    "pauses",
    "reruns",
    "runcommands",
    "audit",
    "people",
    "status",
)


def table() -> Mapping[str, Operation]:
    """All operations by name."""
    for noun in NOUNS:
        import_module(f"{__name__}.{noun}")
    return OPERATIONS
