"""The modules that a minion has: those of this package, and the site's own from a folder."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import pkgutil
import stat
import sys
import types
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from . import modules as own_modules
from .errors import FuncError
from .module import FuncModule

log = logging.getLogger(__name__)


def load(folder: Path | None = None, only: Sequence[str] = ()) -> dict[str, type[FuncModule]]:
    """The modules by name. *only* are patterns of names; none means all. A broken file is logged only."""
    found: dict[str, type[FuncModule]] = {"func_module": FuncModule}
    for info in pkgutil.iter_modules(own_modules.__path__):
        module = importlib.import_module(f"{own_modules.__name__}.{info.name}")
        found[info.name] = _classes(module)[0]
    found |= dict(_of_site(folder)) if folder is not None else {}
    return {name: one for name, one in found.items() if is_wanted(name, only)}


def is_wanted(name: str, only: Sequence[str]) -> bool:
    """Whether the module *name* matches one of the patterns *only*, or there are none."""
    return not only or any(fnmatchcase(name, pattern) for pattern in only)


def _classes(module: types.ModuleType) -> list[type[FuncModule]]:
    return [
        one
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, FuncModule) and one.__module__ == module.__name__
    ]


def _of_site(folder: Path) -> Iterator[tuple[str, type[FuncModule]]]:
    _stand_in()
    for file in sorted(folder.rglob("*.py")):
        name = ".".join(file.relative_to(folder).with_suffix("").parts)
        if file.name.startswith("_"):
            continue
        try:
            check_owner(folder)
            check_owner(file.parent)
            check_owner(file)
            classes = _classes(_import(name, file))
        except Exception as error:  # noqa: BLE001 -- a site's file may raise anything; the others shall work
            log.error("module %s is not loaded: %s: %s", file, type(error).__name__, error)
            continue
        if classes:
            yield name, classes[0]
        else:
            log.error("module %s is not loaded: it has no class that derives from FuncModule", file)


def check_owner(path: Path) -> None:
    """What runs with our rights must not be in others' hands.

    Raises:
        FuncError: somebody else than root and us could change *path*.
    """
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise FuncError(f"{path} can be changed by others than its owner and root")


def _import(name: str, file: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"omserver_func_site.{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _stand_in() -> None:
    """Let ``import func_module`` of modules of Func's time find `FuncModule`."""
    stand_in = types.ModuleType("func_module")
    stand_in.FuncModule = FuncModule  # type: ignore[attr-defined]
    stand_in.FuncException = FuncError  # type: ignore[attr-defined]
    sys.modules.setdefault("func_module", stand_in)
