"""What SQLite needs to behave like the others: durable, never waiting for ever, no surprise locks."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from typing import Any

from sqlalchemy import Connection, Engine, event

#: The execution option that marks a transaction as one that will write.
WRITES = "omserver_writes"
#: The same, for a look of one statement, which sees one moment without a transaction.
ONE_LOOK = "omserver_one_look"
#: How many steps of SQLite's machine pass between two looks at the clock.
_STEPS = 50_000
#: Seconds between two tries to get the write lock: at first, and at most. A commit takes about as long as the
#: latter; SQLite's own waits grow to 0.1 s, and who waits long starves.
_TRY_AGAIN, _AT_MOST = 0.001, 0.008


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

    A transaction that will write takes its lock at the start: one that read first could not get it later. Of
    one process only one at a time tries to.
    """
    gate = _Gate(lock_timeout)

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
        options = conn.get_execution_options()
        if options.get(ONE_LOOK):
            return
        if not options.get(WRITES):
            conn.exec_driver_sql("BEGIN")
            return
        end = time.monotonic() + lock_timeout
        gate.enter(conn.connection.info)
        _take_lock(conn, end, lock_timeout)

    @event.listens_for(engine, "commit")
    @event.listens_for(engine, "rollback")
    def ended(conn: Connection) -> None:
        if not conn.invalidated:
            gate.leave(conn.connection.info)

    @event.listens_for(engine, "checkin")
    @event.listens_for(engine, "invalidate")
    @event.listens_for(engine, "soft_invalidate")
    def given_back(raw: object, record: Any, *_: object) -> None:
        gate.leave(record.info)

    @event.listens_for(engine, "before_cursor_execute")
    def executing(conn: Connection, *_: Any) -> None:
        conn.connection.info["deadline"].start()


def _take_lock(conn: Connection, end: float, lock_timeout: float) -> None:
    """Begin to write, waiting for other processes until *end*."""
    raw: Any = conn.connection.dbapi_connection
    raw.execute("PRAGMA busy_timeout = 0").close()
    pause = _TRY_AGAIN
    try:
        while time.monotonic() < end:
            try:
                raw.execute("BEGIN IMMEDIATE").close()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    break
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 -- spreads tries, guards nothing
            pause = min(2 * pause, _AT_MOST)
        conn.exec_driver_sql("BEGIN IMMEDIATE")  # the last try says what is wrong
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(lock_timeout * 1000)}").close()


class _Gate:
    """Lets one thread of this process through at a time, and any after some *seconds*."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()

    def enter(self, info: Any) -> None:
        self.leave(info)
        info["through"] = self._lock.acquire(timeout=self._seconds)

    def leave(self, info: Any) -> None:
        if info.pop("through", False):
            self._lock.release()


class _Deadline:
    """Stops a statement that takes longer than it may."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = float("inf")

    def start(self) -> None:
        self._end = time.monotonic() + self._seconds

    def passed(self) -> bool:
        return time.monotonic() > self._end
