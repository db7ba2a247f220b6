"""Connections to MariaDB and MySQL: bounded in time, and quicker at what each result says of its columns."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from pymysql.connections import Connection
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket
from sqlalchemy import Column, Engine, Select, Table, event


def arguments(*, connect_timeout: int, lock_timeout: int, statement_timeout: int) -> dict[str, Any]:
    """What a connection is made with; all times in seconds."""
    return {
        "charset": "utf8mb4",
        "connect_timeout": connect_timeout,
        "read_timeout": connect_timeout,
        "write_timeout": statement_timeout,
        "init_command": (
            # MariaDB reads the first comment only, MySQL the second: each has a name of its own for it.
            f"SET SESSION /*M! max_statement_time = {statement_timeout}, */"
            f" /*!80000 max_execution_time = {statement_timeout * 1000}, */"
            f" innodb_lock_wait_timeout = {lock_timeout},"
            " sql_mode = 'TRADITIONAL', time_zone = '+00:00'"
        ),
    }


def prepare(engine: Engine, *, read_timeout: float) -> None:
    """Let *engine* make connections of our kind, which wait *read_timeout* seconds for an answer."""

    @event.listens_for(engine, "do_connect")
    def connect(dialect: object, record: object, args: Any, options: Any) -> Connection:
        raw = _Connection(*args, **options)
        raw._read_timeout = read_timeout  # pymysql has one limit for this and the handshake
        return raw


def force_index(query: Select[Any], table: Table, column: Column[Any]) -> Select[Any]:
    """*query*, which MariaDB is told to answer through the index of *table* that begins with *column*.

    By itself it reads a whole table in the order that is asked for, if it expects to find its rows early.
    """
    index = next(one.name for one in table.indexes if one.columns.values()[0] is column)
    for dialect in ("mariadb", "mysql"):
        query = query.with_hint(table, f"FORCE INDEX ({index})", dialect)
    return query


class _Connection(Connection):  # type: ignore[misc]
    """Reads what the server says of a result's column once: that was a quarter of the price of a short look.

    Each answer says the same of its columns as the one before, byte by byte, some forty times a job.
    """

    def _read_packet(self, packet_type: Any = MysqlPacket) -> Any:
        return super()._read_packet(_column if packet_type is FieldDescriptorPacket else packet_type)


#: Nothing changes a description once it was read. There are some hundred in all.
_column: Final = lru_cache(maxsize=4096)(FieldDescriptorPacket)
