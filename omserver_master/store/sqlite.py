"""What SQLite needs to behave like the others: durable, never waiting for ever, no surprise locks."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, event

#: The execution option that marks a transaction as one that will write.
WRITES = "omserver_writes"
#: How many steps of SQLite's machine pass between two looks at the clock.
_STEPS = 50_000


def make_private(path: str) -> None:
    """Create the database file with mode 0600, so that it never exists with a wider one.

    A path that cannot be created is left to fail when the database is opened.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError:
        return


def prepare(engine: Engine, *, lock_timeout: float, statement_timeout: float) -> None:
    """Make every connection of *engine* durable, bounded in time (seconds), with transactions begun by us.

    A transaction that will write takes its lock at the start: one that read first could not get it later.
    """

    @event.listens_for(engine, "connect")
    def connected(raw: sqlite3.Connection, record: Any) -> None:
        raw.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {int(lock_timeout * 1000)}",
        ):
            raw.execute(f"PRAGMA {pragma}").close()
        record.info["deadline"] = deadline = _Deadline(statement_timeout)
        raw.set_progress_handler(deadline.passed, _STEPS)

    @event.listens_for(engine, "begin")
    def begun(conn: Connection) -> None:
        writes = conn.get_execution_options().get(WRITES)
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @event.listens_for(engine, "before_cursor_execute")
    def executing(conn: Connection, *_: Any) -> None:
        conn.connection.info["deadline"].start()


class _Deadline:
    """Stops a statement that takes longer than it may."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = float("inf")

    def start(self) -> None:
        self._end = time.monotonic() + self._seconds

    def passed(self) -> bool:
        return time.monotonic() > self._end
