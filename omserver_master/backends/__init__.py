"""Engines, the ways to reach hosts: ``make_backend`` is the door; each is loaded when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .base import Backend, ConnectionDown, Proof, Reachability, Target

__all__ = ["KINDS", "Backend", "ConnectionDown", "Proof", "Reachability", "Target", "make_backend"]

_WHERE = {
    "local": ("local", "LocalBackend"),
    "salt": ("salt", "SaltBackend"),
    "sim": ("sim", "SimBackend"),
}
#: The kinds of connection that there are.
KINDS = tuple(_WHERE)


def make_backend(kind: str, name: str, settings: Mapping[str, Any]) -> Backend:
    """The engine for a connection's row: its *kind*, its *name* and its *settings*.

    Raises:
        ValueError: there is no such kind, or a setting is wrong.
    """
    if kind not in _WHERE:
        raise ValueError(f"Connection {name}: kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    module, class_name = _WHERE[kind]
    backend: Backend = getattr(import_module(f".{module}", __name__), class_name)(name, settings)
    return backend
