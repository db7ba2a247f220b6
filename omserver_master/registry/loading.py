"""Load a module's source and describe it; runs in a child process only.

What is wrong with a file becomes `Broken`, with the line in that file.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.util
import inspect
import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

from ..contract.attributes import return_codes
from ..contract.locknames import lock_names
from ..contract.mistakes import ModuleMistake
from ..contract.module import Module
from ..contract.texts import Text
from . import oldimports
from .python2 import error_hint, syntax_hint


class Broken(Exception):
    """A file that is no module: *line* (None if no line is to blame) and *reason* for its author."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


def refuse_vanished() -> None:
    """From now on nothing in this process imports what is not for modules: for a process of its own."""
    sys.meta_path.insert(0, oldimports.Refusing())


class _Source(importlib.abc.ExecutionLoader):
    """Runs exactly the bytes whose hash was checked, not what the file may hold by now."""

    def __init__(self, path: str, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source)

    def get_code(self, fullname: str) -> CodeType:
        return _compiled(self._path, self._source)


@lru_cache(maxsize=oldimports.KEPT)
def _compiled(path: str, source: bytes) -> CodeType:
    return importlib.abc.InspectLoader.source_to_code(importlib.util.decode_source(source), path)


def check_hash(source: bytes, sha256: str) -> None:
    """Refuse bytes that are not the ones asked for.

    Raises:
        Broken: they differ.
    """
    if hashlib.sha256(source).hexdigest() != sha256:
        raise Broken(None, "The file has changed: its SHA-256 is not the one that was asked for.")


def load(path: str, source: bytes) -> type[Any]:
    """Run the file's code and answer its class ``Modulehandle``.

    Raises:
        Broken: the code cannot be run, or there is no such class.
    """
    name = Path(path).stem
    loader = _Source(path, source)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # its own code: anything may come
        raise _broken(error, path, source) from error
    handle = _checked_class(module, source)
    line = oldimports.imports_engine(source)
    if issubclass(handle, Module) and line is not None:
        raise Broken(line, f"A module with steps names no engine: {oldimports.ENGINE_INSTEAD}.")
    return handle


def forget(path: str) -> None:
    """Forget the module, so that nothing of it is left for the next one."""
    sys.modules.pop(Path(path).stem, None)


def is_direct(handle: type[Any]) -> bool:
    """Whether the class does everything itself in ``run()``."""
    return not issubclass(handle, Module) or handle.run is not Module.run


def is_driven(handle: type[Any], source: bytes) -> bool:
    """Whether the class reaches hosts through stand-ins, and so through the job's engine."""
    return is_direct(handle) and oldimports.uses_engines(source) is not None


def describe(handle: type[Any], source: bytes = b"") -> dict[str, Any]:
    """What the registry wants to know of a module, as JSON."""
    doc = inspect.cleandoc(sys.modules[handle.__module__].__doc__ or "")
    title, _, caption = doc.partition("\n")
    direct = is_direct(handle)
    attributes = handle if issubclass(handle, Module) else Module
    params = attributes.params
    for param in params:
        if isinstance(param, Text):
            param.probe()
    return {
        "title": title.strip(),
        "title_zh": attributes.title_zh,
        "caption": caption.strip(),
        "caption_zh": attributes.caption_zh,
        "doc": doc,
        "repeat": attributes.repeat,
        "risk": attributes.risk,
        "timeout": attributes.timeout,
        "ok": list(return_codes(attributes.ok)),
        "output": attributes.output,
        "most_hosts": attributes.most_hosts,
        "engines": list(attributes.engines),
        "rollout": dict(attributes.rollout),
        "locks": list(lock_names(attributes.lock)),
        "params": [param.describe() for param in params],
        "direct": direct,
        "driven": is_driven(handle, source),
        "check": bool(attributes.check) and not direct,
    }


def blame(error: BaseException, path: str) -> tuple[int | None, str]:
    """The line of the module's file that *error* came through last, and what happened, in one line."""
    return _line_in(error.__traceback__, path), one_line(error)


def one_line(error: BaseException) -> str:
    """An error as one line for people."""
    if isinstance(error, SystemExit):
        return "The module's code called sys.exit()."
    if isinstance(error, MemoryError):
        return "MemoryError: the module's code wanted more memory than it may have."
    text = next(iter(str(error).strip().splitlines()), "")
    return with_hint(f"{type(error).__name__}: {text}"[:500].removesuffix(": "), error_hint(text))


def with_hint(text: str, hint: str) -> str:
    """*text*, and what to change in a module of Python 2."""
    return f"{text}. It was written for Python 2: {hint}." if hint else text


def _line_in(traceback: TracebackType | None, path: str) -> int | None:
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _broken(error: BaseException, path: str, source: bytes) -> Broken:
    if isinstance(error, SyntaxError) and error.filename in (path, None, "<string>"):
        text = f"{type(error).__name__}: {error.msg}"
        return Broken(error.lineno, with_hint(text, syntax_hint(error, source)))
    line, reason = blame(error, path)
    if isinstance(error, ModuleMistake):
        return Broken(_line_of(source, error.attribute) or line, str(error))
    if isinstance(error, ImportError) and error.name:
        return Broken(line, _missing_import(error))
    return Broken(line, reason)


def _missing_import(error: ImportError) -> str:
    name = error.name or ""
    if not isinstance(error, ModuleNotFoundError):
        return f"ImportError: {error}"
    instead = oldimports.VANISHED.get(name.split(".")[0], "")
    return f"There is no module {name!r} to import here{'; ' + instead if instead else ''}."


def _checked_class(module: ModuleType, source: bytes) -> type[Any]:
    handle = getattr(module, "Modulehandle", None)
    if not isinstance(handle, type):
        raise Broken(None, "The file defines no class Modulehandle.")
    if issubclass(handle, Module):
        try:
            handle.check_complete()
        except ModuleMistake as error:
            raise Broken(_line_of(source, "Modulehandle"), str(error)) from error
    elif not callable(getattr(handle, "run", None)):
        raise Broken(_line_of(source, "Modulehandle"), "Modulehandle has no method run().")
    return handle


def _line_of(source: bytes, name: str) -> int | None:
    """The line that defines the class *name*, or assigns to *name* inside a class."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node.lineno
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return node.lineno
    return None
