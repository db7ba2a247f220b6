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
import threading
import time
from pathlib import Path

from omserver_client.errors import UnknownModule

from .moduleinfo import DEFAULTS, Broken, ModuleInfo
from .pool import ChildPool, Message

__all__ = ["Broken", "ModuleInfo", "Registry"]

_ID = re.compile(r"[1-9][0-9]{3,5}")
_FILE = re.compile(r"Mid_([1-9][0-9]{3,5})\.py")
#: Bytes of the largest module file.
_LARGEST = 1 << 20
#: Seconds until a broken file is looked at again although it is the same: what it needs may be there by then.
_BROKEN_FOR = 5.0


class Registry:
    """The modules of one folder. Thread-safe; an edit counts from the next look."""

    def __init__(self, folder: Path, pool: ChildPool) -> None:
        self._folder = Path(folder)
        self._pool = pool
        self._known: dict[tuple[str, str], tuple[ModuleInfo, float]] = {}
        self._lock = threading.Lock()

    def load(self, moduleid: str) -> ModuleInfo:
        """The module as its file is now, broken or not.

        Raises:
            UnknownModule: there is none with this id, or the id is none.
        """
        if not isinstance(moduleid, str) or not _ID.fullmatch(moduleid):
            raise _unknown(moduleid)
        try:
            source = self._read(f"Mid_{moduleid}.py")
        except _Unreadable as unreadable:
            return self._info(moduleid, b"", {}, Broken(None, str(unreadable)))
        except OSError:
            raise _unknown(moduleid) from None
        return self._describe(moduleid, source)

    def list(self) -> list[ModuleInfo]:
        """All modules by rising id, the broken ones too."""
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        ids = (match[1] for match in map(_FILE.fullmatch, names) if match)
        found = []
        for moduleid in sorted(ids, key=int):
            with contextlib.suppress(UnknownModule):  # removed while we looked
                found.append(self.load(moduleid))
        return found

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

    def _describe(self, moduleid: str, source: bytes) -> ModuleInfo:
        key = moduleid, hashlib.sha256(source).hexdigest()
        with self._lock:
            info, until = self._known.get(key, (None, 0.0))
        if info is None or time.monotonic() > until:
            info = self._ask(moduleid, source)
            until = time.monotonic() + _BROKEN_FOR if info.broken else float("inf")
            with self._lock:
                self._known[key] = info, until
        return info

    def _ask(self, moduleid: str, source: bytes) -> ModuleInfo:
        message = self._pool.describe(self._folder / f"Mid_{moduleid}.py", source)
        if message["say"] == "described":
            return self._info(moduleid, source, message, None)
        return self._info(moduleid, source, {}, Broken(message["line"], message["reason"]))

    def _info(self, moduleid: str, source: bytes, message: Message, broken: Broken | None) -> ModuleInfo:
        path = self._folder / f"Mid_{moduleid}.py"
        sha256 = hashlib.sha256(source).hexdigest()
        return ModuleInfo(moduleid, sha256, path, source, broken, {**DEFAULTS, **message})


class _Unreadable(Exception):
    """A file that is there and is not to be read; the text says why."""


def _unknown(moduleid: object) -> UnknownModule:
    shown = moduleid if isinstance(moduleid, str) and moduleid.isprintable() else ascii(moduleid)
    return UnknownModule(f'Module "Mid_{shown[:40]}" does not exist, Please add it')
