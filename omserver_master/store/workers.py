"""Worker processes, and when each was last alive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, delete, func, insert, literal, or_, select, true, update

from ..jobs.states import OPEN_JOB
from . import clock
from .leases import is_one_of
from .schema import jobs, workers

_ONE = select(literal(1).label("one")).subquery()
#: Jobs that workers have now, but for those that are paused: they take nobody's place.
_AT_WORK = (
    select(func.count())
    .where(jobs.c.state.in_(("running", "cancelling")), jobs.c.lease_until > clock.utc_now())
    .scalar_subquery()
)
#: Made once: whoever asks for a job that is not over asks this.
_CREW = select(clock.utc_now(), workers.c.last_seen, workers.c.machine, _AT_WORK).select_from(
    _ONE.outerjoin(workers, true())
)


class Crew(NamedTuple):
    """The time, how many workers are ``alive``, and how many jobs they have ``at_work``, paused ones not."""

    now: float
    alive: int
    at_work: int
    machines: Mapping[str, int]
    """How many of them are on each machine that has any."""


def beat(conn: Connection, name: str, machine: str = "") -> None:
    """The worker *name*, which runs on *machine*, is alive."""
    now = clock.now(conn)
    seen = {"last_seen": now, "machine": machine}
    if not conn.execute(update(workers).where(workers.c.name == name).values(seen)).rowcount:
        conn.execute(insert(workers).values(name=name, started=now, **seen))


def forget_worker(conn: Connection, name: str, silent_seconds: float) -> None:
    """The worker *name* has stopped; so have those that were not seen for *silent_seconds*."""
    silent = workers.c.last_seen < clock.now(conn) - silent_seconds
    conn.execute(delete(workers).where(or_(workers.c.name == name, silent)))


def crew(conn: Connection, alive_seconds: float = 30) -> Crew:
    """The workers that were seen within *alive_seconds*, and what they have to do: in one go."""
    rows = conn.execute(_CREW).all()
    now: float = rows[0][0]
    alive = [machine for _, seen, machine, _ in rows if seen is not None and seen > now - alive_seconds]
    return Crew(now, len(alive), rows[0][3], Counter(alive))


def at_work_on(conn: Connection) -> dict[str, int]:
    """How many jobs the workers of each machine have, but for those that are paused."""
    busy = jobs.c.state.in_(("running", "cancelling")), jobs.c.lease_until > clock.utc_now()
    query = select(workers.c.machine, func.count()).join_from(jobs, workers, jobs.c.worker == workers.c.name)
    return {row[0]: row[1] for row in conn.execute(query.where(*busy).group_by(workers.c.machine))}


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
    mine = is_one_of(OPEN_JOB), jobs.c.worker == workers.c.name
    number = select(func.count()).where(*mine).scalar_subquery()
    query = select(workers, alive.label("alive"), number.label("jobs")).order_by(workers.c.name)
    return list(conn.execute(query).mappings())
