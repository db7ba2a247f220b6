"""What a module of 2014 finds when it imports: ``Public_lib``, and stand-ins for libraries that are not here.

``from Public_lib import *`` gave the engines' libraries too, under the names salt, fc and ansible.
"""

from __future__ import annotations

import ast
import importlib.abc
import os
import re
import sys
import time
from collections.abc import Collection, Iterable
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from .oldansible import Order_Run, Playbook_Run, Runner
from .oldfleet import Unsupported
from .oldfunc import Binary, Client, Overlord
from .oldsalt import LocalClient
from .oldstyle import target_host

#: What each vanished module of Python holds now.
STAND_INS: Final[dict[str, dict[str, Any]]] = {
    "salt": {},
    "salt.client": {"LocalClient": LocalClient},
    "fc": {"Overlord": Overlord, "Client": Client},
    "func": {},
    "func.overlord": {},
    "func.overlord.client": {"Overlord": Overlord, "Client": Client},
    "ansible": {},
    "ansible.runner": {"Runner": Runner},
    "xmlrpclib": {"Binary": Binary},
}
#: Libraries and classes by which a module reaches hosts through the job.
ENGINES: Final = frozenset({"salt", "fc", "func", "ansible"})
_CLASSES: Final = frozenset({"Order_Run", "Playbook_Run"})
ENGINE_INSTEAD = "modules say what to run, with ShellModule or Run, and the engine is chosen for them"
_SALT = "salt.client.LocalClient"
_FUNC = "fc.Overlord"
_ANSIBLE = "ansible.runner.Runner, Order_Run and Playbook_Run"
#: Top names that modules of 2014 imported and that are refused, even where they are installed: what a module
#: does with an engine of its own, no job knows, limits or records.
VANISHED: Final = {
    "salt": f"of Salt there is {_SALT}; {ENGINE_INSTEAD}",
    "ansible": f"of Ansible there are {_ANSIBLE}; {ENGINE_INSTEAD}",
    "ansible_runner": ENGINE_INSTEAD,
    "func": f"of Func there is {_FUNC}; {ENGINE_INSTEAD}",
    "fc": f"of Func there is {_FUNC}; {ENGINE_INSTEAD}",
    "config": "site settings are not for modules; use parameters",
    "commands": "Python 3 has subprocess; for a host say what to run with Run",
    "libraries": "from Public_lib import * gives target_host",
    "xmlrpclib": "Python 3 has xmlrpc.client; of xmlrpclib there is Binary",
    "urllib2": "Python 3 has urllib.request",
    "ConfigParser": "Python 3 calls it configparser",
    "Queue": "Python 3 calls it queue",
    "StringIO": "Python 3 has io.StringIO",
    "cPickle": "Python 3 calls it pickle",
    "MySQLdb": "site data is not for modules; use parameters",
}
#: For so many files one process remembers what stands in them: the next job is often of the same module.
KEPT: Final = 32


class Refusing(importlib.abc.MetaPathFinder):
    """Finds nothing, and says so for names that are not for modules."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.partition(".")[0] in VANISHED:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def install() -> None:
    """Put fresh stand-ins where an import finds them, for the next module."""
    made = {name: _make(name, content) for name, content in STAND_INS.items()}
    for name, module in made.items():
        above, _, last = name.rpartition(".")
        if above:
            setattr(made[above], last, module)
    sys.modules.update(made)
    sys.modules["Public_lib"] = _public_lib(made)


@lru_cache(maxsize=KEPT)
def imports_engine(source: bytes) -> int | None:
    """The first line that imports an engine's library, or None."""
    return _first(_imports(node, ENGINES) for node in ast.walk(ast.parse(source)))


@lru_cache(maxsize=KEPT)
def uses_engines(source: bytes) -> int | None:
    """The first line by which a module of 2014 reaches hosts through the job's engine, or None."""
    nodes = list(ast.walk(ast.parse(source)))
    found = [_imports(node, ENGINES) for node in nodes]
    if _first(_imports(node, {"Public_lib"}) for node in nodes) is not None:
        found += [_names(node) for node in nodes]
    return _first(found)


def _first(lines: Iterable[int | None]) -> int | None:
    return min((line for line in lines if line is not None), default=None)


def _imports(node: ast.AST, wanted: Collection[str]) -> int | None:
    if isinstance(node, ast.Import):
        names = {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        names = {(node.module or "").partition(".")[0]}
    else:
        return None
    return node.lineno if names & set(wanted) else None


def _names(node: ast.AST) -> int | None:
    """``salt.client``, ``fc.Overlord``, ``Order_Run``: what the names of Public_lib are used for."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.lineno if node.value.id in ENGINES else None
    return node.lineno if isinstance(node, ast.Name) and node.id in _CLASSES else None


def _make(name: str, content: dict[str, Any]) -> ModuleType:
    module = ModuleType(name, "A stand-in; see docs/modules.md.")
    vars(module).update(content, __path__=[])
    there = f"{_SALT}, {_FUNC}, {_ANSIBLE}"

    def missing(attribute: str) -> Unsupported:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return Unsupported(f"{name}.{attribute}", there)

    if name != "xmlrpclib":
        vars(module)["__getattr__"] = missing
    return module


def _public_lib(made: dict[str, ModuleType]) -> ModuleType:
    module = ModuleType("Public_lib", "What modules of 2014 import.")
    content = {
        "target_host": target_host,
        "Order_Run": Order_Run,
        "Playbook_Run": Playbook_Run,
        "salt": made["salt"],
        "fc": made["fc"],
        "func": made["func"],
        "ansible": made["ansible"],
        "xmlrpclib": made["xmlrpclib"],
        "os": os,
        "re": re,
        "sys": sys,
        "time": time,
    }
    vars(module).update(content, __all__=list(content))
    return module
