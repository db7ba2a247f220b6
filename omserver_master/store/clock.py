"""The database's own clock: what leases and sessions are judged by, on whatever machine the caller runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select
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


_NOW = select(utc_now())


def now(conn: Connection) -> float:
    """The database's time, in unix seconds."""
    return conn.execute(_NOW).scalar_one()
