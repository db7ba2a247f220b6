"""The private channel from an Ansible run to us: a file of records that the run appends to and we read.

A record is one line: the length and the HMAC-SHA256 of a JSON text, and that text. Each is flushed to the
disk before Ansible goes on, so a run that is killed, or whose worker is, loses nothing that was noted. Hosts
have no part in it: what they print travels inside a record, as a value.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
from pathlib import Path
from typing import Any

_HEAD = re.compile(rb"om1 (\d{1,10}) ([0-9a-f]{64}) ")
#: More bytes than the beginning of a record can have.
_LONGEST_HEAD = 100


class SpoolWriter:
    """Appends records; several processes may, one after the other or at once."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Open *path* (made with mode 0600) and cut off what a killed writer left half-written.

        Raises:
            OSError: it cannot be written.
        """
        self._key = key
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            reader = SpoolReader(path, key)
            reader.read()
            os.ftruncate(self._file, reader.position)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, event: str, **values: Any) -> None:
        """Note an *event* for good.

        Raises:
            OSError: it could not be written.
        """
        text = json.dumps({"event": event, **values}).encode()
        record = _frame(text, self._key)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            before = os.fstat(self._file).st_size
            written = os.write(self._file, record)
            if written != len(record):
                os.ftruncate(self._file, before)
                raise OSError(28, "The spool could not be written in whole")
            os.fsync(self._file)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class SpoolReader:
    """Reads records as they come. ``damaged`` tells that from some point on nothing can be believed."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.position = 0
        self.damaged = False
        self._path = path
        self._key = key

    def read(self) -> list[dict[str, Any]]:
        """The records that are whole and were not read yet; none where there is no file.

        Raises:
            FileNotFoundError: the file is gone.
        """
        with self._path.open("rb") as spool:
            if self.damaged or os.fstat(spool.fileno()).st_size <= self.position:
                return []
            spool.seek(self.position)
            return self._records(spool.read())

    def _records(self, raw: bytes) -> list[dict[str, Any]]:
        records = []
        start = 0
        while start < len(raw):
            head = _HEAD.match(raw, start)
            if head is None:
                self.damaged = len(raw) - start >= _LONGEST_HEAD
                break
            end = head.end() + int(head[1])
            if len(raw) <= end:
                break
            record = self._open(raw[head.end() : end], head[2])
            if record is None or raw[end : end + 1] != b"\n":
                self.damaged = True
                break
            records.append(record)
            start = end + 1
        self.position += start
        return records

    def _open(self, text: bytes, seal: bytes) -> dict[str, Any] | None:
        if not hmac.compare_digest(_seal(text, self._key), seal):
            return None
        record = json.loads(text)
        return record if isinstance(record, dict) and isinstance(record.get("event"), str) else None


def _frame(text: bytes, key: bytes) -> bytes:
    return b"om1 %d %s %s\n" % (len(text), _seal(text, key), text)


def _seal(text: bytes, key: bytes) -> bytes:
    return hmac.digest(key, text, "sha256").hex().encode()
