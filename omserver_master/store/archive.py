"""The file of a backup: rows as lines of JSON, compressed, with a SHA-256 over all of it at the end.

    OMServer backup 1\\n
    gzip of:  {"version": ..., "made": ..., "key": ..., "site_key": ...}      the head, one line
              {"table": "users", "columns": [...]}                            a table,
              [value, ...]                                                    and its rows, one line each
              {"rows": {"users": 3, ...}}                                     the end
    \\nsha256 <64 hex digits>\\n

Times are unix seconds, bytes are base64. The file says nothing about the kind of database that it came from.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from sqlalchemy import LargeBinary, Table

from ..errors import BackupRefused

MAGIC: Final = b"OMServer backup 1\n"
_SUM: Final = b"\nsha256 "
_TAIL: Final = len(_SUM) + 64 + 1
_PIECE: Final = 1024 * 1024

Row = list[Any]


class Writer:
    """Writes an archive of mode 0600; it gets its name when it is whole and on the disk, else there is none.

    Raises:
        BackupRefused: there is such a file already, or it cannot be written.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._head = head
        self.rows: dict[str, int] = {}

    def __enter__(self) -> Writer:
        if self._path.exists():
            raise BackupRefused(f"{self._path} is there already.")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        try:
            self._file = os.fdopen(os.open(self._part, flags, 0o600), "w+b")
            os.fchmod(self._file.fileno(), 0o600)
        except OSError as error:
            raise BackupRefused(f"{self._part} cannot be made: {error.strerror}.") from error
        self._file.write(MAGIC)
        self._lines = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=1, mtime=0)
        self._say(self._head)
        return self

    def table(self, table: Table) -> None:
        """The rows that follow are of *table*."""
        self._name, self._bytes = table.name, _bytes_columns(table, [column.name for column in table.columns])
        self.rows[table.name] = 0
        self._say({"table": table.name, "columns": [column.name for column in table.columns]})

    def add(self, row: Row) -> None:
        """A row, its values in the order of the table's columns."""
        for place in self._bytes:
            if row[place] is not None:
                row[place] = base64.b64encode(row[place]).decode()
        self._say(row)
        self.rows[self._name] += 1

    def _say(self, line: object) -> None:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        self._lines.write(text.encode() + b"\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if error is None:
                    self._end()
            if error is None:
                self._part.replace(self._path)
        except OSError as failed:
            raise BackupRefused(f"{self._path} cannot be written: {failed.strerror}.") from failed
        finally:
            self._part.unlink(missing_ok=True)

    def _end(self) -> None:
        self._say({"rows": self.rows})
        self._lines.close()
        self._file.flush()
        self._file.seek(0)
        total = _sum(self._file, os.fstat(self._file.fileno()).st_size)
        self._file.seek(0, os.SEEK_END)
        self._file.write(_SUM + total.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


class Reader:
    """An archive whose sum was found right.

    Raises:
        BackupRefused: it cannot be read, is no backup, or is not as it was written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise BackupRefused(f"{path} cannot be read: {error.strerror}.") from error
        try:
            self.head = self._check(path)
        except BaseException:
            self._file.close()
            raise

    def _check(self, path: Path) -> dict[str, Any]:
        self._size = os.fstat(self._file.fileno()).st_size - _TAIL
        if self._file.read(len(MAGIC)) != MAGIC or self._size <= len(MAGIC):
            raise BackupRefused(f"{path} is no backup of OMServer, or not of this version.")
        self._file.seek(0)
        total = _sum(self._file, self._size)
        if self._file.read() != _SUM + total.encode() + b"\n":
            raise BackupRefused(f"{path} is not as it was written: cut off or changed.")
        head: dict[str, Any] = next(self._lines())
        return head

    def rows(self) -> Iterator[tuple[str, list[str], Row]]:
        """Every row: the name of its table, the names of its columns, its values; bytes as base64."""
        lines = self._lines()
        next(lines)
        name, columns = "", list[str]()
        for line in lines:
            if isinstance(line, list):
                yield name, columns, line
            elif "rows" in line:
                return
            else:
                name, columns = line["table"], line["columns"]
        raise BackupRefused("The backup has no end.")

    def close(self) -> None:
        self._file.close()

    def _lines(self) -> Iterator[Any]:
        self._file.seek(len(MAGIC))
        with gzip.GzipFile(fileobj=_Until(self._file, self._size), mode="rb") as lines:
            for line in io.BufferedReader(lines, _PIECE):
                yield json.loads(line)


class _Until(io.RawIOBase):
    """A file as far as the place where its sum begins."""

    def __init__(self, file: IO[bytes], end: int) -> None:
        self._file, self._end = file, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(min(len(buffer), max(0, self._end - self._file.tell())))
        buffer[: len(piece)] = piece
        return len(piece)


def _bytes_columns(table: Table, names: list[str]) -> list[int]:
    return [place for place, name in enumerate(names) if isinstance(table.c[name].type, LargeBinary)]


def _sum(file: IO[bytes], size: int) -> str:
    """The SHA-256 of the next *size* bytes."""
    digest = sha256()
    while size > 0 and (piece := file.read(min(_PIECE, size))):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest()
