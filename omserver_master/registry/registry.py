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
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from omserver_client.errors import UnknownModule

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

_NOT_YET: Message = {
    "say": "broken",
    "line": None,
    "reason": "It has not been looked at yet: its code takes long. Look again in a moment.",
}


class _Look(NamedTuple):
    """A module whose description is there or on its way."""

    id: str
    source: bytes
    message: Future[Message]


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
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        ids = (match[1] for match in map(_FILE.fullmatch, names) if match)
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
            source = self._read(f"Mid_{moduleid}.py")
        except _Unreadable as unreadable:
            return _Look(moduleid, b"", _settled({"say": "broken", "line": None, "reason": str(unreadable)}))
        except OSError:
            raise _unknown(moduleid) from None
        key = moduleid, hashlib.sha256(source).hexdigest()
        path = self._folder / f"Mid_{moduleid}.py"
        return _Look(moduleid, source, self._known.begin(key, lambda: self._pool.describe(path, source)))

    def _finish(self, look: _Look, seconds: float) -> ModuleInfo:
        message = within(look.message, seconds) or _NOT_YET
        if message["say"] == "described":
            return self._info(look.id, look.source, message, None)
        return self._info(look.id, look.source, {}, Broken(message["line"], message["reason"]))

    def _read(self, name: str) -> bytes:
        """The bytes of a regular file in the folder.

        Raises:
            OSError: there is none.
            _Unreadable: there is one, and it is not to be read.
        """
        try:
            fd = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
