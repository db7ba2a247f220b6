"""The database's own clock: what leases and sessions are judged by, on whatever machine the caller runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Float, bindparam, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from .types import UtcTime


class utc_now(FunctionElement[float]):  # noqa: N801 -- reads like the SQL function that it is
    """The time at which the statement runs, UTC."""

    type = UtcTime()
    inherit_cache = True


@compiles(utc_now, "sqlite")
def _sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(utc_now, "mysql")
@compiles(utc_now, "mariadb")
def _mysql(element: Any, compiler: Any, **options: Any) -> str:
    return "UTC_TIMESTAMP(6)"


@compiles(utc_now, "postgresql")
def _postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return "(clock_timestamp() AT TIME ZONE 'UTC')"


class utc_in(FunctionElement[float]):  # noqa: N801 -- as above
    """The time so many seconds after the statement runs, UTC."""

    type = UtcTime()
    inherit_cache = True

    def __init__(self, seconds: str) -> None:
        """*seconds* is the name of the parameter that says how many."""
        super().__init__(bindparam(seconds, type_=Float()))


@compiles(utc_in, "sqlite")
def _sqlite_in(element: Any, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


@compiles(utc_in, "mysql")
@compiles(utc_in, "mariadb")
def _mysql_in(element: Any, compiler: Any, **options: Any) -> str:
    return f"UTC_TIMESTAMP(6) + INTERVAL {compiler.process(element.clauses, **options)} SECOND"


@compiles(utc_in, "postgresql")
def _postgresql_in(element: Any, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() AT TIME ZONE 'UTC' + make_interval(secs => {seconds}))"


_NOW = select(utc_now())


def now(conn: Connection) -> float:
    """The database's time, in unix seconds."""
    return conn.execute(_NOW).scalar_one()
