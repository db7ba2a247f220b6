"""Who works on a job: a lease by the database's clock, and a fence against a worker that lost it.

Each claim raises the job's ``attempt``. Whoever writes for a job names the attempt that it claimed; a worker
that slept through its lease finds that the number has moved on and writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, RowMapping, case, or_, select, update

from ..errors import LeaseLost
from . import clock
from .schema import jobs


def next_job(
    conn: Connection, states: Collection[str], *conditions: ColumnElement[bool]
) -> RowMapping | None:
    """The oldest job in one of *states* that has no live lease and meets *conditions*, locked; or None."""
    columns = jobs.c.id, jobs.c.state, jobs.c.user_id, jobs.c.cancel_asked, jobs.c.lock_mode
    free = or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < clock.now(conn))
    oldest = select(*columns).where(jobs.c.state.in_(states), free, *conditions).order_by(jobs.c.id).limit(1)
    return conn.execute(oldest.with_for_update(skip_locked=True)).mappings().first()


def claim_this(conn: Connection, job_id: int, worker: str, lease_seconds: float) -> RowMapping | None:
    """Give the job *job_id* to *worker*, unless it is finished or under a live lease (then None).

    A queued one is running from then on. The row is as it stands after the claim.
    """
    now = clock.now(conn)
    claimed = conn.execute(
        update(jobs)
        .where(
            jobs.c.id == job_id,
            jobs.c.finished.is_(None),
            or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < now),
        )
        .values(
            worker=worker,
            attempt=jobs.c.attempt + 1,
            lease_until=now + lease_seconds,
            state=case((jobs.c.state == "queued", "running"), else_=jobs.c.state),
        )
    )
    return _row(conn, job_id) if claimed.rowcount else None


def renew_lease(conn: Connection, job_id: int, worker: str, attempt: int, lease_seconds: float) -> RowMapping:
    """Prolong the lease; the row tells, among other things, whether ``cancel_asked``.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    renewed = conn.execute(
        update(jobs)
        .where(
            jobs.c.id == job_id,
            jobs.c.worker == worker,
            jobs.c.attempt == attempt,
            jobs.c.finished.is_(None),
        )
        .values(lease_until=clock.now(conn) + lease_seconds)
    )
    if not renewed.rowcount:
        raise LeaseLost
    return _row(conn, job_id)


def release_job(conn: Connection, job_id: int, attempt: int, reason: str, wait_seconds: float = 0) -> None:
    """Give the job back, to be claimed again in *wait_seconds*; *reason* says what it waits for.

    Raises:
        LeaseLost: another worker has the job.
    """
    until = clock.now(conn) + wait_seconds
    fence(conn, job_id, attempt, worker=None, lease_until=until, reason=reason)


def give_up_leases(conn: Connection, worker: str) -> int:
    """The process called *worker* is known to be gone: its leases end now; how many there were."""
    held = jobs.c.worker == worker, jobs.c.finished.is_(None), jobs.c.lease_until > clock.now(conn)
    return conn.execute(update(jobs).where(*held).values(lease_until=clock.now(conn) - 1)).rowcount


def fence(
    conn: Connection, job_id: int, attempt: int, *, even_finished: bool = False, **changes: object
) -> int:
    """Lock the job's row for the rest of the transaction, change it, and return its next event number.

    *even_finished* says whether that may happen to a finished job too.

    Raises:
        LeaseLost: *attempt* is not the job's latest claim, or the job is finished.
    """
    number: int = fenced(conn, job_id, attempt, even_finished=even_finished, **changes).event
    return number


def fenced(
    conn: Connection, job_id: int, attempt: int, *, even_finished: bool = False, **changes: object
) -> Row[Any, Any]:
    """As `fence`; return the job's next ``event`` number, and its ``lock_mode``.

    Raises:
        LeaseLost: as `fence`.
    """
    held = [jobs.c.id == job_id, jobs.c.attempt == attempt]
    if not even_finished:
        held.append(jobs.c.finished.is_(None))
    changed = conn.execute(update(jobs).where(*held).values(event=jobs.c.event + 1, **changes))
    if not changed.rowcount:
        raise LeaseLost
    return conn.execute(select(jobs.c.event, jobs.c.lock_mode).where(jobs.c.id == job_id)).one()


def _row(conn: Connection, job_id: int) -> RowMapping:
    return conn.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one()
