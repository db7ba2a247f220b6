"""Worker processes, and when each was last alive."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from . import clock
from .schema import jobs, workers


def beat(conn: Connection, name: str) -> None:
    """The worker *name* is alive."""
    now = clock.now(conn)
    if not conn.execute(update(workers).where(workers.c.name == name).values(last_seen=now)).rowcount:
        conn.execute(insert(workers).values(name=name, started=now, last_seen=now))


def forget_worker(conn: Connection, name: str) -> None:
    """The worker *name* has stopped."""
    conn.execute(delete(workers).where(workers.c.name == name))


def list_workers(conn: Connection, alive_seconds: float = 30) -> list[RowMapping]:
    """All workers by name: ``name``, ``alive`` (seen within *alive_seconds*), ``jobs`` (unfinished ones)."""
    alive = workers.c.last_seen > clock.now(conn) - alive_seconds
    mine = jobs.c.worker == workers.c.name, jobs.c.finished.is_(None)
    number = select(func.count()).where(*mine).scalar_subquery()
    query = select(workers, alive.label("alive"), number.label("jobs")).order_by(workers.c.name)
    return list(conn.execute(query).mappings())
