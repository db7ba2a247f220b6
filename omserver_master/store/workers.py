"""Worker processes, and when each was last alive."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, delete, func, insert, literal, select, true, update

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


def alive(conn: Connection, alive_seconds: float = 30) -> tuple[float, int]:
    """What time it is, and how many workers were seen within *alive_seconds*: often asked, so in one go."""
    one = select(literal(1).label("one")).subquery()
    query = select(clock.utc_now(), workers.c.last_seen).select_from(one.outerjoin(workers, true()))
    rows = conn.execute(query).all()
    now: float = rows[0][0]
    return now, sum(1 for _, seen in rows if seen is not None and seen > now - alive_seconds)


def jobs_at_work(conn: Connection) -> int:
    """How many jobs workers have now, but for those that are paused: they take nobody's place."""
    begun = jobs.c.state.in_(("running", "cancelling")), jobs.c.lease_until > clock.now(conn)
    return conn.execute(select(func.count()).where(*begun)).scalar_one()


def jobs_before(conn: Connection, job_ids: Sequence[int]) -> dict[int, int]:
    """For each of these jobs, how many older ones are in the queue."""
    found: dict[int, int] = {}
    before, number = 0, 0
    for job_id in sorted(job_ids):
        between = jobs.c.state == "queued", jobs.c.id >= before, jobs.c.id < job_id
        number += conn.execute(select(func.count()).where(*between)).scalar_one()
        found[job_id], before = number, job_id
    return found


def list_workers(conn: Connection, alive_seconds: float = 30) -> list[RowMapping]:
    """All workers by name: ``name``, ``alive`` (seen within *alive_seconds*), ``jobs`` (unfinished ones)."""
    alive = workers.c.last_seen > clock.now(conn) - alive_seconds
    mine = jobs.c.worker == workers.c.name, jobs.c.finished.is_(None)
    number = select(func.count()).where(*mine).scalar_subquery()
    query = select(workers, alive.label("alive"), number.label("jobs")).order_by(workers.c.name)
    return list(conn.execute(query).mappings())
