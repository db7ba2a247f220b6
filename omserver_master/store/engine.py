"""Opening the database, and transactions on it: bounded in time, retried where that is safe.

`begin` is one write transaction, `read` and `look` are for reading, and `transact` is a write that is run
again after a deadlock.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import StaticPool

from omserver_client.errors import Unavailable

from . import mariadb, sqlite
from .failures import Failure, judge

T = TypeVar("T")

#: Seconds: to wait for a free connection, to reach the database, for a lock, and for one statement.
POOL_TIMEOUT = 5
CONNECT_TIMEOUT = 5
LOCK_TIMEOUT = 5
STATEMENT_TIMEOUT = 30
#: How often a transaction is tried that lost against another, and for how long: whoever asked is still there
#: to be told then.
TRIES = 5
TRY_TIMEOUT = 15

#: Seconds: a connection that was used within them is taken to be alive.
_USED_LATELY = 1.0

_READING: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()


def make_engine(url: str, *, pool_size: int = 5) -> Engine:
    """Connections to the database at *url*: SQLite, MariaDB/MySQL (pymysql) or PostgreSQL (psycopg)."""
    kind = make_url(url).get_backend_name()
    if kind == "sqlite":
        return _sqlite_engine(url, pool_size)
    if kind == "postgresql":
        return _server_engine(url, pool_size, "READ COMMITTED", _POSTGRESQL)
    engine = _server_engine(url, pool_size, "READ COMMITTED", _MARIADB)
    _READING[engine] = reading = _server_engine(url, pool_size, "AUTOCOMMIT", _MARIADB)
    event.listen(engine, "engine_disposed", lambda _: reading.dispose())
    return engine


def _server_engine(url: str, pool_size: int, isolation: Any, options: Mapping[str, Any]) -> Engine:
    engine = create_engine(
        url,
        isolation_level=isolation,
        skip_autocommit_rollback=True,
        pool_size=pool_size,
        pool_timeout=POOL_TIMEOUT,
        pool_recycle=3600,
        # Every transaction is ended by who began it; MariaDB would be asked once more each time.
        pool_reset_on_return=None,
        connect_args=dict(options),
    )
    if options is _MARIADB:
        mariadb.prepare(engine, read_timeout=STATEMENT_TIMEOUT + CONNECT_TIMEOUT)
    _replace_dead_connections(engine)
    return _discard_after_disk_errors(engine)


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """One write transaction: committed at the end of the block, rolled back if it raises.

    Raises:
        Unavailable: the database cannot do that now (down, locked for too long, disk full).
    """
    with understood(), sqlite.writing(engine) if _is_sqlite(engine) else engine.begin() as conn:
        yield conn


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """One look that only reads. On SQLite all of it sees one moment; elsewhere each statement sees its own.

    Raises:
        Unavailable: the database cannot be read now.
    """
    with understood(), sqlite.reading(engine) if _is_sqlite(engine) else _reading(engine).connect() as conn:
        yield conn


@contextmanager
def look(engine: Engine) -> Iterator[Connection]:
    """As `read`, for one statement: it costs less where a transaction costs something.

    Raises:
        Unavailable: the database cannot be read now.
    """
    with understood(), sqlite.looking(engine) if _is_sqlite(engine) else _reading(engine).connect() as conn:
        yield conn


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Run *work* in a write transaction, and again if it lost against another one and there is time.

    A commit whose outcome is not known is not repeated: that is for an idempotency key to find out.

    Raises:
        Unavailable: it lost every time, or the database cannot do that now.
    """
    end = time.monotonic() + TRY_TIMEOUT
    for attempt in range(1, TRIES):
        try:
            with begin(engine) as conn:
                return work(conn)
        except Unavailable as error:
            if not _lost(error) or time.monotonic() + LOCK_TIMEOUT > end:
                raise
        time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 -- spreads tries, guards nothing
    with begin(engine) as conn:
        return work(conn)


@contextmanager
def understood() -> Iterator[None]:
    """Say of a database's errors what they mean: `Unavailable`, unless the mistake is ours."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("The database is busy: no connection became free.") from error
    except SQLAlchemyError as error:
        failure = judge(error)
        if failure is Failure.OURS:
            raise
        raise Unavailable(failure.value) from error


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _reading(engine: Engine) -> Engine:
    """Connections without transactions: READ COMMITTED shows nothing more in one, and its end is asked for.

    MariaDB would have to be asked to change that, and to change it back, so that it has connections of their
    own for it (see `make_engine`).
    """
    found = _READING.get(engine)
    if found is None:
        found = _READING[engine] = engine.execution_options(isolation_level="AUTOCOMMIT")
    return found


def _lost(error: Unavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and judge(cause) is Failure.LOST


def _replace_dead_connections(engine: Engine) -> None:
    """Ask a connection whether it is alive before it is used, unless it was used just now.

    SQLAlchemy's own way asks every time, which doubles the round trips of a short look.
    """

    @event.listens_for(engine, "checkin")
    def given_back(raw: object, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def taken(raw: Any, record: Any, proxy: object) -> None:
        if time.monotonic() - record.info.get("used", math.inf) < _USED_LATELY:
            return
        try:
            engine.dialect.do_ping(raw)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error


def _discard_after_disk_errors(engine: Engine) -> Engine:
    """Never use a connection again whose write, or commit, failed on the disk."""

    @event.listens_for(engine, "handle_error")
    def failed(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        if error is not None and judge(error) in (Failure.DISK_FULL, Failure.BROKEN_DISK):
            context.is_disconnect = True
            context.invalidate_pool_on_disconnect = False

    return engine


def _sqlite_engine(url: str, pool_size: int) -> Engine:
    where = make_url(url).database
    if where in (None, "", ":memory:"):
        engine = create_engine(
            url, poolclass=StaticPool, connect_args={"check_same_thread": False, **_SQLITE}
        )
    else:
        sqlite.make_private(str(where))
        arguments = {"timeout": LOCK_TIMEOUT, **_SQLITE}
        engine = create_engine(
            url,
            pool_size=pool_size,
            pool_timeout=POOL_TIMEOUT,
            pool_use_lifo=True,  # each connection has a cache of pages: a few warm ones, not all in turn
            connect_args=arguments,
        )
    sqlite.prepare(engine, lock_timeout=LOCK_TIMEOUT, statement_timeout=STATEMENT_TIMEOUT)
    return _discard_after_disk_errors(engine)


_SQLITE = {"factory": sqlite.BoundConnection}

_MARIADB = mariadb.arguments(
    connect_timeout=CONNECT_TIMEOUT, lock_timeout=LOCK_TIMEOUT, statement_timeout=STATEMENT_TIMEOUT
)

_POSTGRESQL = {
    "connect_timeout": CONNECT_TIMEOUT,
    "options": (
        f"-c statement_timeout={STATEMENT_TIMEOUT * 1000} -c lock_timeout={LOCK_TIMEOUT * 1000}"
        " -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"
    ),
    "keepalives_idle": 30,
    "keepalives_interval": 5,  # a server that is gone is known within a minute, though it was not said
    "tcp_user_timeout": STATEMENT_TIMEOUT * 1000,
}
