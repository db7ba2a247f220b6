"""Receive files. A file is written beside its place and moved there, with its mode set before."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from ..errors import FuncError
from ..module import FuncModule

_COPIED, _SAME, _FAILED = 1, 0, -1


class CopyFile(FuncModule):
    """See the top of the file."""

    version = "0.0.1"
    api_version = "0.0.2"
    description = "Allows for smart copying of a file."

    def copyfile(
        self, path: str, content: Any, mode: int = 0o644, uid: int = 0, gid: int = 0, force: Any = None
    ) -> int:
        """1: copied (the old file is kept with its time in its name); 0: it was the same; -1: failed."""
        data, target = bytes(content.data), Path(path)
        try:
            if not force and target.is_file() and _sha1(target.read_bytes()) == _sha1(data):
                return _SAME
            if not target.parent.name and not target.is_absolute():
                raise FuncError(f"{path} needs the name of a folder.")
            target.parent.mkdir(parents=True, exist_ok=True)
            _keep_old(target)
            _write(target, data, int(mode), int(uid), int(gid))
        except OSError:
            return _FAILED
        return _COPIED

    def open(self, path: str, mode: int = 0o644, uid: int = -1, gid: int = -1) -> Any:
        """Make or empty a file: its path, or -1."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            try:
                _dress(handle, int(mode), int(uid), int(gid))
            finally:
                os.close(handle)
        except OSError:
            return _FAILED
        return path

    def append(self, path: str, content: Any) -> int:
        """Add to the end of a file: 1, or -1."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
            with os.fdopen(handle, "ab") as file:
                file.write(bytes(content.data))
        except OSError:
            return _FAILED
        return _COPIED

    def checksum(self, what: str) -> str:
        """The SHA-1 of a file; of the text itself where there is no such file."""
        try:
            return _sha1(Path(what).read_bytes())
        except (OSError, ValueError):
            return _sha1(what.encode())


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _keep_old(target: Path) -> None:
    if not target.is_file():
        return
    name = f"{target.name}.{time.strftime('%Y-%m-%d@%H:%M')}~"
    for number in range(1000):
        try:
            os.link(target, target.with_name(f"{name}{number or ''}"), follow_symlinks=False)
        except FileExistsError:
            continue
        return
    raise FileExistsError(name)


def _write(target: Path, data: bytes, mode: int, uid: int, gid: int) -> None:
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            _dress(file.fileno(), mode, uid, gid)
            os.fsync(file.fileno())
        Path(part).replace(target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _dress(handle: int, mode: int, uid: int, gid: int) -> None:
    """Owner before mode: a change of the owner takes special bits away."""
    if os.geteuid() == 0:
        os.fchown(handle, uid, gid)
    os.fchmod(handle, mode & 0o7777)
