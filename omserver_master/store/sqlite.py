"""What SQLite needs to behave like the others: durable, never waiting for ever, no surprise locks."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event

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
    """Make every connection of *engine* durable and bounded in time (seconds), with transactions begun by us.

    It has to make `BoundConnection` ones.
    """
    _SITES[engine] = _Site(Engine(engine.pool, engine.dialect, engine.url), lock_timeout)
    event.listen(engine, "engine_disposed", _close_idle)

    @event.listens_for(engine, "connect")
    def connected(raw: BoundConnection, record: Any) -> None:
        raw.isolation_level = None
        raw.patience = statement_timeout
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {int(lock_timeout * 1000)}",
        ):
            raw.execute(f"PRAGMA {pragma}").close()
        raw.set_progress_handler(raw.late, _STEPS)

    @event.listens_for(engine, "begin")
    def begun(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN")


class BoundConnection(sqlite3.Connection):
    """Stops a statement that takes longer than ``patience`` seconds."""

    patience = float("inf")
    end = float("inf")

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or _BoundCursor)

    def late(self) -> bool:
        return time.monotonic() > self.end


class _BoundCursor(sqlite3.Cursor):
    def execute(self, *statement: Any) -> Any:
        self._begin()
        return super().execute(*statement)

    def executemany(self, *statement: Any) -> Any:
        self._begin()
        return super().executemany(*statement)

    def _begin(self) -> None:
        bound = cast(BoundConnection, self.connection)
        bound.end = time.monotonic() + bound.patience


@dataclass(frozen=True)
class _Site:
    """What the transactions of an engine share.

    Attributes:
        bare: the same connections and no hooks: they double the price of a short statement.
        gate: lets one thread of this process through at a time, or any after *lock_timeout*.
        idle: connections that were used just now: to take one out of the pool costs as much as a short look.
    """

    bare: Engine
    lock_timeout: float
    gate: threading.Lock = field(default_factory=threading.Lock)
    idle: deque[Connection] = field(default_factory=deque)


_SITES: WeakKeyDictionary[Engine, _Site] = WeakKeyDictionary()
#: Connections that are kept at most; each has a cache of pages.
_MOST_IDLE = 4


def bare(engine: Engine) -> Engine:
    """The engine behind *engine* which these three use; it begins no transactions."""
    return _SITES[engine].bare


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, with its lock from the start: one that read first could not get it later."""
    site = _SITES[engine]
    end = time.monotonic() + site.lock_timeout
    through = site.gate.acquire(timeout=site.lock_timeout)
    try:
        with _kept(site) as conn:
            _take_lock(conn, end, site.lock_timeout)
            yield conn
            conn.commit()
            if (raw := _raw(conn)).in_transaction:  # nothing was asked of it
                raw.rollback()
    finally:
        if through:
            site.gate.release()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, and sees one moment."""
    with looking(engine) as conn:
        raw = _raw(conn)
        raw.execute("BEGIN").close()
        yield conn
        raw.rollback()


@contextmanager
def looking(engine: Engine) -> Iterator[Connection]:
    """A connection for one statement, which sees one moment without a transaction."""
    with _kept(_SITES[engine]) as conn:
        yield conn


@contextmanager
def _kept(site: _Site) -> Iterator[Connection]:
    """A connection that is kept for the next one, unless the block raises."""
    try:
        conn = site.idle.pop()
    except IndexError:
        conn = site.bare.connect()
    try:
        yield conn
    except BaseException:
        if not conn.invalidated:  # after a commit that failed SQLAlchemy takes it for over, and would not
            with suppress(sqlite3.Error):
                _raw(conn).rollback()
        conn.close()
        raise
    if len(site.idle) < _MOST_IDLE:
        site.idle.append(conn)
    else:
        conn.close()


def _close_idle(engine: Engine) -> None:
    """Close what is kept; the pool has closed the others."""
    site = _SITES[engine]
    while site.idle:
        site.idle.pop().close()
    site.bare.pool.dispose()


def _take_lock(conn: Connection, end: float, lock_timeout: float) -> None:
    """Begin to write, waiting for other processes until *end*."""
    raw = _raw(conn)
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


def _raw(conn: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, conn.connection.dbapi_connection)
