"""Engines, the ways to reach hosts: ``make_backend`` is the door; each is loaded when first needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .base import Backend, ConnectionDown, FoundHost, NoInventory, Proof, Reachability, Target
from .options import Setting

__all__ = [
    "KINDS",
    "OF_ONE_MACHINE",
    "Backend",
    "ConnectionDown",
    "FoundHost",
    "NoInventory",
    "Proof",
    "Reachability",
    "Setting",
    "Target",
    "keeps_hosts",
    "make_backend",
    "settings_of",
]

_WHERE = {
    "ansible": ("ansible.backend", "AnsibleBackend"),
    "func": ("func.backend", "FuncBackend"),
    "local": ("local", "LocalBackend"),
    "salt": ("salt.backend", "SaltBackend"),
    "salt-api": ("salt.api", "SaltApiBackend"),
    "sim": ("sim.backend", "SimBackend"),
    "ssh": ("ssh.backend", "SshBackend"),
}
#: The kinds of connection that there are.
KINDS = tuple(_WHERE)
#: Those that mean the very machine on which they are used: what is there is nowhere else.
OF_ONE_MACHINE = frozenset({"local", "salt"})


def make_backend(kind: str, name: str, settings: Mapping[str, Any]) -> Backend:
    """The engine for a connection's row: its *kind*, its *name* and its *settings*.

    Raises:
        ValueError: there is no such kind, or a setting is wrong.
    """
    if kind not in _WHERE:
        raise ValueError(f"Connection {name}: kind must be one of {', '.join(KINDS)}, not {kind!r}.")
    return _class_of(kind)(name, settings)


def settings_of(kind: str) -> tuple[Setting, ...]:
    """What can be set of a connection of this *kind*. Loads the engine's adapter, not the engine.

    Raises:
        KeyError: there is no such kind.
    """
    return _class_of(kind).SETTINGS


def keeps_hosts(kind: str) -> bool:
    """Whether connections of this *kind* know hosts that can be imported.

    Raises:
        KeyError: there is no such kind.
    """
    return _class_of(kind).inventory is not Backend.inventory


def _class_of(kind: str) -> type[Backend]:
    module, class_name = _WHERE[kind]
    found: type[Backend] = getattr(import_module(f".{module}", __name__), class_name)
    return found
