"""Bringing a backup into an empty database of any kind. What was under way never runs again."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    Table,
    func,
    insert,
    select,
    text,
    update,
)

from ..errors import BackupRefused
from . import audit, schema_version
from .archive import Reader
from .backup import MARKED
from .clock import utc_now
from .engine import begin, read
from .jobs import parts
from .schema import host_results, job_locks, jobs, metadata
from .sitekey import SiteKey

#: Rows of one statement, and of one transaction.
_ROWS: Final = 500
_COMMIT: Final = 10_000
#: The version that a database has until all is there: nothing works on it then.
UNDER_WAY: Final = "restoring"
_ENDED: Final = "The database was brought back from a backup of {day}."
_NOT_SENT: Final = "Nothing had been sent when the backup was made."
_SENT: Final = "It was under way when the backup was made; look at the host for what became of it."


def check(path: Path) -> dict[str, Any]:
    """Read all of the backup once; its head, if it is whole and of this version.

    Raises:
        BackupRefused: it is not.
    """
    archive = Reader(path)
    try:
        ours = schema_version.head()
        if archive.head["version"] != ours:
            raise BackupRefused(
                f"The backup is of version {archive.head['version']}, and this OMServer's is {ours}: bring it"
                " back with the OMServer that made it, then upgrade."
            )
        return archive.head
    finally:
        archive.close()


def check_key(head: dict[str, Any], site: SiteKey) -> None:
    """Is *site* the key that the backup's outputs were encrypted with?

    Raises:
        BackupRefused: it is another one.
    """
    if head["key"] != site.mark(MARKED):
        raise BackupRefused("The site key is not the one of this backup: its outputs could not be read.")


def check_empty(engine: Engine) -> None:
    """May a backup be brought into this database: is it new, empty, or left by a restore that was cut off?

    Raises:
        BackupRefused: it holds something.
    """
    with read(engine) as conn:
        if schema_version.current(conn) in (None, UNDER_WAY):
            return
        for table in metadata.sorted_tables:
            if conn.execute(select(table).limit(1)).first() is not None:
                raise BackupRefused(f"The database is not empty: {table.name} holds rows.")


def restore(engine: Engine, path: Path, who: str) -> dict[str, int]:
    """Bring the backup at *path* into the empty database; answer how many rows of each table.

    Until the end the database is of no version. Cut off, this can be run again, and begins anew.

    Raises:
        BackupRefused: the backup is not whole, or the database is not empty.
        Unavailable: the database cannot do that now.
    """
    head = check(path)
    check_empty(engine)
    _prepare(engine)
    archive = Reader(path)
    try:
        counts = _fill(engine, archive)
    finally:
        archive.close()
    with begin(engine) as conn:
        _count_on(conn)
        _settle(conn, _ENDED.format(day=_day(head["made"])))
        _set_version(conn, head["version"])
        audit.append(conn, action="db.restore", user=who, detail=f"backup of {_day(head['made'])}")
    return counts


def _prepare(engine: Engine) -> None:
    """Make the tables, anew where a restore was cut off; from here on it is under way."""
    with begin(engine) as conn:
        if schema_version.current(conn) == UNDER_WAY:
            metadata.drop_all(conn)
            conn.execute(text("DROP TABLE alembic_version"))
    schema_version.upgrade(engine)
    with begin(engine) as conn:
        _set_version(conn, UNDER_WAY)


def _fill(engine: Engine, archive: Reader) -> dict[str, int]:
    counts: dict[str, int] = {}
    batch: list[tuple[Table, dict[str, Any]]] = []
    for name, columns, values in archive.rows():
        table = metadata.tables[name]
        batch.append((table, dict(zip(columns, _read(table, columns, values), strict=True))))
        counts[name] = counts.get(name, 0) + 1
        if len(batch) == _COMMIT:
            _insert(engine, batch)
            batch = []
    _insert(engine, batch)
    return counts


def _read(table: Table, columns: list[str], values: list[Any]) -> list[Any]:
    return [
        base64.b64decode(value)
        if value is not None and isinstance(table.c[name].type, LargeBinary)
        else value
        for name, value in zip(columns, values, strict=True)
    ]


def _insert(engine: Engine, batch: list[tuple[Table, dict[str, Any]]]) -> None:
    with begin(engine) as conn:
        start = 0
        while start < len(batch):
            table = batch[start][0]
            end = start
            while end < len(batch) and end - start < _ROWS and batch[end][0] is table:
                end += 1
            conn.execute(insert(table), [row for _, row in batch[start:end]])
            start = end


def _count_on(conn: Connection) -> None:
    """Let PostgreSQL's counters go on behind the ids that are there; the others do so by themselves."""
    if conn.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        key = _counter(table)
        if key is not None:
            last = conn.execute(select(func.max(key))).scalar()
            sequence = func.pg_get_serial_sequence(f'"{table.name}"', key.name)
            conn.execute(select(func.setval(sequence, last or 1, last is not None)))


def _counter(table: Table) -> Column[Any] | None:
    keys = list(table.primary_key)
    alone = len(keys) == 1 and isinstance(keys[0].type, Integer) and not keys[0].foreign_keys
    return keys[0] if alone else None


def _settle(conn: Connection, reason: str) -> None:
    """Nothing that was under way is taken up: nobody knows what happened after the backup was made."""
    conn.execute(job_locks.delete())
    under_way = list(conn.execute(select(jobs.c.id).where(jobs.c.finished.is_(None))).scalars())
    for some in parts(under_way):
        for before, after, why in (("pending", "not_started", _NOT_SENT), ("dispatched", "unknown", _SENT)):
            mine = host_results.c.job_id.in_(some), host_results.c.state == before
            told = {"state": after, "reason": f"{reason} {why}"}
            conn.execute(update(host_results).where(*mine).values(**told, finished=utc_now()))
        ended = {"state": "interrupted", "reason": reason, "worker": None, "lease_until": None}
        change = update(jobs).where(jobs.c.id.in_(some))
        conn.execute(change.values(**ended, finished=utc_now(), attempt=jobs.c.attempt + 1))
    trying = update(jobs).where(jobs.c.until > utc_now())
    conn.execute(trying.values(until=utc_now()))


def _set_version(conn: Connection, version: str) -> None:
    conn.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
