"""Who works on a job: a lease by the database's clock, and a fence against a worker that lost it.

Each claim raises the job's ``attempt``. Whoever writes for a job names the attempt that it claimed; a worker
that slept through its lease finds that the number has moved on and writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    RowMapping,
    Select,
    Update,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from ..errors import LeaseLost
from ..jobs.states import OPEN_JOB
from . import clock, mariadb
from .clock import utc_in, utc_now
from .schema import jobs

#: No worker has it, or none that has said for the time of a lease that it lives.
FREE = or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < utc_now())

# Made once: making them costs more than the database takes for them.
_THIS = jobs.c.id == bindparam("this")
#: What a claim changes.
_CLAIMED: dict[str, ColumnElement[Any]] = {
    "worker": bindparam("name"),
    "attempt": jobs.c.attempt + 1,
    "lease_until": utc_in("seconds"),
    "state": case((jobs.c.state == "queued", "running"), else_=jobs.c.state),
}
_CLAIM = update(jobs).where(_THIS, jobs.c.finished.is_(None), FREE).values(_CLAIMED)
_CLAIM_AND_READ = _CLAIM.returning(jobs)
_RENEW = (
    update(jobs)
    .where(
        _THIS,
        jobs.c.worker == bindparam("name"),
        jobs.c.attempt == bindparam("claim"),
        jobs.c.finished.is_(None),
    )
    .values(lease_until=utc_in("seconds"))
)
_ROW = select(jobs).where(_THIS)
#: How a job ``was`` before a claim; and the whole of it as it stands after, where an update can't tell.
_WAS = jobs.c.state.label("was")
_LITTLE = jobs.c.id, _WAS, jobs.c.user_id, jobs.c.cancel_asked, jobs.c.lock_mode
_ALL = *(_CLAIMED.get(column.name, column).label(column.name) for column in jobs.c), _WAS
_HOW = jobs.c.event, jobs.c.lock_mode, jobs.c.cancel_asked, jobs.c.pause_asked, utc_now()
_STANDS = select(*_HOW).where(_THIS)


def oldest_free(states: Collection[str], *conditions: ColumnElement[bool]) -> Select[Any]:
    """A statement that locks the oldest job in one of *states* without a live lease that meets *conditions*.

    The row says how it ``was``.
    """
    wanted = select(*_LITTLE).where(is_one_of(states), FREE, *conditions)
    return wanted.order_by(jobs.c.id).limit(1).with_for_update(skip_locked=True)


def some_free(states: Collection[str], *conditions: ColumnElement[bool], most: int) -> CompoundSelect[int]:
    """A statement for the ids of such jobs: the *most* oldest of the queue, and as many of the others.

    It locks nothing. MariaDB, which is to lock the oldest of all, would read every job that there ever was.
    """
    some = select(jobs.c.id).where(FREE, *conditions).limit(most)
    queued = some.where(is_one_of({"queued"})).order_by(jobs.c.id)
    others = some.where(is_one_of(set(states) - {"queued"}))
    return union_all(*(mariadb.force_index(one, jobs, jobs.c.state) for one in (queued, others)))


def first_of(states: Collection[str]) -> Select[Any]:
    """A statement that locks the first of ``some`` jobs that is still as `some_free` says.

    The row is the job's as `claim_this` will make it, and wants its arguments; it says how it ``was``.
    """
    wanted = select(*_ALL).where(jobs.c.id.in_(bindparam("some", expanding=True)), is_one_of(states), FREE)
    return wanted.order_by(jobs.c.id).limit(1).with_for_update(skip_locked=True)


def is_one_of(states: Collection[str]) -> ColumnElement[bool]:
    """Whether a job is in one of *states*, which are written into the statement: they are our own words.

    Those of a parameter would be spread out anew at each execution.
    """
    return jobs.c.state.in_([literal_column(f"'{state}'") for state in sorted(states)])


def claim_this(
    conn: Connection, job_id: int, worker: str, lease_seconds: float, whole: RowMapping | None = None
) -> RowMapping | None:
    """Give the job *job_id* to *worker*, unless it is finished or under a live lease (then None).

    A queued one is running from then on. The row is as it stands after the claim; it need not be read where
    it is known from a look that has locked the *whole* of it.
    """
    mine = {"this": job_id, "name": worker, "seconds": lease_seconds}
    if conn.dialect.update_returning:
        return conn.execute(_CLAIM_AND_READ, mine).mappings().first()
    return (whole or _row(conn, job_id)) if conn.execute(_CLAIM, mine).rowcount else None


def renew_lease(conn: Connection, job_id: int, worker: str, attempt: int, lease_seconds: float) -> None:
    """Prolong the lease.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    mine = {"this": job_id, "name": worker, "claim": attempt, "seconds": lease_seconds}
    if not conn.execute(_RENEW, mine).rowcount:
        raise LeaseLost


def release_job(conn: Connection, job_id: int, attempt: int, reason: str, wait_seconds: float = 0) -> None:
    """Give the job back, to be claimed again in *wait_seconds*; *reason* says what it waits for.

    Raises:
        LeaseLost: another worker has the job.
    """
    fence(conn, job_id, attempt, lease=wait_seconds, worker=None, reason=reason)


def give_up_leases(conn: Connection, worker: str) -> int:
    """The process called *worker* is known to be gone: its leases end now; how many there were."""
    held = is_one_of(OPEN_JOB), jobs.c.worker == worker, jobs.c.lease_until > utc_now()
    return conn.execute(update(jobs).where(*held).values(lease_until=clock.now(conn) - 1)).rowcount


def fence(
    conn: Connection,
    job_id: int,
    attempt: int,
    *,
    even_finished: bool = False,
    lease: float | None = None,
    begun: bool = False,
    over: bool = False,
    **changes: object,
) -> Fenced:
    """Lock the job's row for the rest of the transaction, change it, and say how it stands.

    Args:
        even_finished: whether that may happen to a finished job too.
        lease: the claim is good for so many seconds from now.
        begun: the job has started, if it had not before.
        over: it ends now, and so does the claim.
        changes: new values of columns.

    Raises:
        LeaseLost: *attempt* is not the job's latest claim, or the job is finished.
    """
    change = _fence(
        tuple(changes), even_finished=even_finished, lease=lease is not None, begun=begun, over=over
    )
    values = {f"new_{name}": value for name, value in changes.items()}
    values |= {"this": job_id, "claim": attempt} | ({} if lease is None else {"seconds": lease})
    if conn.dialect.update_returning:
        row = conn.execute(_fence_and_say(change), values).first()
    else:
        row = conn.execute(_STANDS, values).one() if conn.execute(change, values).rowcount else None
    if row is None:
        raise LeaseLost
    return Fenced(*row)


class Fenced(NamedTuple):
    """How a job stands whose row was just locked and changed."""

    event: int
    """The number of its next event."""
    lock_mode: str
    cancel_asked: bool
    pause_asked: bool
    now: float
    """The database's time, in unix seconds."""


@cache
def _fence(names: tuple[str, ...], *, even_finished: bool, lease: bool, begun: bool, over: bool) -> Update:
    changes: dict[str, Any] = {name: bindparam(f"new_{name}", type_=jobs.c[name].type) for name in names}
    if lease:
        changes["lease_until"] = utc_in("seconds")
    if begun:
        changes["started"] = func.coalesce(jobs.c.started, utc_now())
    if over:
        changes |= {"finished": utc_now(), "lease_until": null()}
    held = update(jobs).where(_THIS, jobs.c.attempt == bindparam("claim"))
    if not even_finished:
        held = held.where(jobs.c.finished.is_(None))
    return held.values(event=jobs.c.event + 1, **changes)


@cache
def _fence_and_say(change: Update) -> ReturningUpdate[Any]:
    return change.returning(*_HOW)


def _row(conn: Connection, job_id: int) -> RowMapping:
    return conn.execute(_ROW, {"this": job_id}).mappings().one()
