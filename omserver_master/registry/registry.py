"""Which modules there are: ``Mid_<id>.py`` files in one folder, known by the hash of their source.

    info = registry.load("1003")
    params = info.read_params({"lines": "20"})

An id is matched before it touches a path, and no module code runs in this process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from omserver_client.errors import UnknownModule

from . import variants
from .descriptions import Descriptions, within
from .moduleinfo import DEFAULTS, Broken, ModuleInfo
from .pool import ChildPool, Message

__all__ = ["Broken", "ModuleInfo", "Registry"]

_ID = re.compile(r"[1-9][0-9]{3,5}")
_FILE = re.compile(r"Mid_([1-9][0-9]{3,5})\.py")
#: Bytes of the largest module file.
_LARGEST = 1 << 20
#: Seconds that one module, and that the list of all, may take.
LOAD_LIMIT = 12.0
LIST_LIMIT = 5.0

#: What is said of a file that could not be described in time.
NOT_YET: Message = {
    "say": "broken",
    "line": None,
    "reason": "It has not been looked at yet: its code takes long. Look again in a moment.",
}


class _Look(NamedTuple):
    """A module whose description is there or on its way; where it has a file for each engine, *parts*."""

    id: str
    source: bytes
    message: Future[Message]
    parts: dict[str, _Look] | None = None


def _settled(message: Message) -> Future[Message]:
    future: Future[Message] = Future()
    future.set_result(message)
    return future


class Registry:
    """The modules of one folder. Thread-safe; an edit counts from the next look."""

    def __init__(self, folder: Path, pool: ChildPool) -> None:
        self._folder = Path(folder)
        self._pool = pool
        self._known = Descriptions()

    def load(self, moduleid: str) -> ModuleInfo:
        """The module as its file is now, broken or not. A file that nobody has looked at yet takes a moment.

        Raises:
            UnknownModule: there is none with this id, or the id is none.
        """
        return self._finish(self._begin(moduleid), LOAD_LIMIT)

    def list(self) -> list[ModuleInfo]:
        """All modules by rising id, the broken ones too, after `LIST_LIMIT` seconds at most.

        One that could not be described by then is broken for now, and says so.
        """
        folders = [self._folder, *(self._folder / name for name in variants.FOLDERS)]
        names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
        ids = {match[1] for match in map(_FILE.fullmatch, names) if match}
        begun = []
        for moduleid in sorted(ids, key=int):
            with contextlib.suppress(UnknownModule):  # removed while we looked
                begun.append(self._begin(moduleid))
        end = time.monotonic() + LIST_LIMIT
        return [self._finish(look, end - time.monotonic()) for look in begun]

    def _begin(self, moduleid: str) -> _Look:
        if not isinstance(moduleid, str) or not _ID.fullmatch(moduleid):
            raise _unknown(moduleid)
        try:
            return self._begin_file(moduleid, "")
        except OSError:
            parts = dict(self._begin_parts(moduleid))
        if not parts:
            raise _unknown(moduleid)
        return _Look(moduleid, b"", _settled(NOT_YET), parts)

    def _begin_parts(self, moduleid: str) -> Iterator[tuple[str, _Look]]:
        for folder in variants.FOLDERS:
            with contextlib.suppress(OSError):
                yield folder, self._begin_file(moduleid, folder)

    def _begin_file(self, moduleid: str, folder: str) -> _Look:
        path = self._folder / folder / f"Mid_{moduleid}.py"
        try:
            source = self._read(path)
        except _Unreadable as unreadable:
            return _Look(moduleid, b"", _settled({"say": "broken", "line": None, "reason": str(unreadable)}))
        key = f"{folder}/{moduleid}", hashlib.sha256(source).hexdigest()
        return _Look(moduleid, source, self._known.begin(key, lambda: self._pool.describe(path, source)))

    def _finish(self, look: _Look, seconds: float) -> ModuleInfo:
        if look.parts:
            return self._finish_parts(look.id, look.parts, seconds)
        message = within(look.message, seconds) or NOT_YET
        if message["say"] == "described":
            return self._info(look.id, look.source, message, None)
        return self._info(look.id, look.source, {}, Broken(message["line"], message["reason"]))

    def _finish_parts(self, moduleid: str, parts: dict[str, _Look], seconds: float) -> ModuleInfo:
        """One module of the files in the engines' folders; a broken one breaks it, and is named."""
        end = time.monotonic() + seconds
        found = {
            folder: within(look.message, end - time.monotonic()) or NOT_YET for folder, look in parts.items()
        }
        sources = {folder: look.source for folder, look in parts.items()}
        for folder, message in found.items():
            if message["say"] != "described":
                broken = Broken(message["line"], f"in the folder {folder}: {message['reason']}")
                return self._info(moduleid, next(iter(sources.values())), {}, broken)
        try:
            source, whole = variants.bundle(sources), variants.merged(found)
        except (UnicodeDecodeError, variants.Different) as error:
            return self._info(moduleid, next(iter(sources.values())), {}, Broken(None, str(error)))
        return self._info(moduleid, source, whole, None)

    def _read(self, path: Path) -> bytes:
        """The bytes of a regular file.

        Raises:
            OSError: there is none.
            _Unreadable: there is one, and it is not to be read.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise _Unreadable("It is not a regular file; links are not followed.") from None
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _Unreadable("It is not a regular file; links are not followed.")
            with os.fdopen(fd, "rb", closefd=False) as file:
                source = file.read(_LARGEST + 1)
        finally:
            os.close(fd)
        if len(source) > _LARGEST:
            raise _Unreadable(f"The file is larger than {_LARGEST} bytes.")
        return source

    def _info(self, moduleid: str, source: bytes, message: Message, broken: Broken | None) -> ModuleInfo:
        path = self._folder / f"Mid_{moduleid}.py"
        sha256 = hashlib.sha256(source).hexdigest()
        return ModuleInfo(moduleid, sha256, path, source, broken, {**DEFAULTS, **message})


class _Unreadable(Exception):
    """A file that is there and is not to be read; the text says why."""


def _unknown(moduleid: object) -> UnknownModule:
    shown = moduleid if isinstance(moduleid, str) and moduleid.isprintable() else ascii(moduleid)
    return UnknownModule(f'Module "Mid_{shown[:40]}" does not exist, Please add it')
