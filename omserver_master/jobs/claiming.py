"""Which job a worker takes next: the oldest whose locks are free and whose person may run one more."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Result, RowMapping, Select, bindparam, false, or_, select

from omserver_master.store import leases, limits, locks, machines, results
from omserver_master.store.limits import Limits
from omserver_master.store.results import HostResult
from omserver_master.store.schema import jobs

from . import settling
from .states import OPEN_JOB

#: Jobs that one worker runs at once.
MOST_JOBS = 8

#: What is not in the queue was claimed before: it holds its locks, and runs already.
_TAKEN_UP = jobs.c.state != "queued"
#: A job that wants no lock is known by its own row; one that does not wait for a lock is ended instead.
_LOCKS_FREE = or_(jobs.c.lock_mode != "queue", ~locks.must_wait())


# Made once: every worker asks this at each ring, most often for nothing.
_FREE = leases.is_one_of(OPEN_JOB), leases.FREE, machines.MAY_TAKE
_SOME = select(jobs.c.id).where(*_FREE).limit(bindparam("most"))


#: Where a job is chosen by a look that locks nothing.
_FIRST = leases.first_of(OPEN_JOB)


@cache
def _next(*, full: bool, busy: bool, passed: bool, locked: bool) -> Select[Any] | CompoundSelect[int]:
    """A statement for the next job; jobs of the queue only if they are to be cancelled when it is *full*.

    *busy* and *passed* say whether there are people, or jobs, to be left out. It is to be *locked*, or the
    next of some that may be is found by `_FIRST`.
    """
    fits = false() if full else _LOCKS_FREE
    if busy:
        fits &= jobs.c.user_id.not_in(bindparam("busy", expanding=True))
    # What is to be cancelled waits for nothing.
    conditions = [or_(_TAKEN_UP, jobs.c.cancel_asked, fits), machines.MAY_TAKE]
    if passed:
        conditions.append(jobs.c.id.not_in(bindparam("passed", expanding=True)))
    if locked:
        return leases.oldest_free(OPEN_JOB, *conditions)
    return leases.some_free(OPEN_JOB, *conditions, most=MOST_JOBS)


def may_find(conn: Connection, most: int, machine: str = "") -> int:
    """How many jobs `claim` may find, up to *most*. This takes no lock, where SQLite has one for all."""
    return len(conn.execute(_SOME, {"most": most, **machines.on(machine)}).all())


def claim(
    conn: Connection, worker: str, lease_seconds: float, most: Limits, machine: str = ""
) -> RowMapping | None:
    """Give *worker* the next job with all the locks that it wants, or None; end what does not wait for them.

    It is one that the worker's *machine* may take. The row is as it stands after the claim.
    """
    if most.in_all:
        limits.hold_all(conn)
    passed: list[int] = []
    whole = not conn.dialect.update_returning
    mine = {"name": worker, "seconds": lease_seconds} if whole else {}
    while True:
        row = _look(conn, most, machine, passed, mine)
        if row is None:
            return None
        if row["was"] == "queued" and not row["cancel_asked"] and _must_wait(conn, row, most):
            passed.append(row["id"])
            continue
        claimed = leases.claim_this(conn, row["id"], worker, lease_seconds, row if whole else None)
        if claimed is None or row["was"] != "queued" or _begins(conn, claimed):
            return claimed


def _look(
    conn: Connection, most: Limits, machine: str, passed: list[int], mine: Mapping[str, Any]
) -> RowMapping | None:
    """The next job that nobody has and that may begin now, as far as a look tells; none of *passed*.

    With the arguments of the claim that follows (*mine*), the whole of it; what others have locked is then
    *passed*, too.
    """
    full = most.in_all > 0 and limits.running(conn) >= most.in_all
    busy = limits.people_with(conn, most.per_person) if most.per_person and not full else set()

    def ask() -> Result[Any]:
        given = {**machines.on(machine)} | ({"busy": sorted(busy)} if busy else {})
        wanted = _next(full=full, busy=bool(busy), passed=bool(passed), locked=not mine)
        return conn.execute(wanted, given | ({"passed": passed} if passed else {}))

    if not mine:
        return ask().mappings().first()
    while some := list(ask().scalars()):
        if (row := conn.execute(_FIRST, {**mine, "some": some}).mappings().first()) is not None:
            return row
        passed += some
    return None


def _must_wait(conn: Connection, row: RowMapping, most: Limits) -> bool:
    """Whether somebody was faster since we looked; if not, the job has its locks now."""
    if most.per_person:
        limits.hold_person(conn, row["user_id"])
        if limits.running_of(conn, row["user_id"]) >= most.per_person:
            return True
    return row["lock_mode"] == "queue" and locks.take(conn, row["id"]) is not None


def _begins(conn: Connection, job: RowMapping) -> bool:
    """Whether a job that was just claimed from the queue is to be run; if not, it has been ended."""
    if job["cancel_asked"]:
        settling.settle_unsent(conn, job, settling.CANCELLED)
        return False
    if job["lock_mode"] == "refuse" and (taken := locks.take(conn, job["id"])):
        settling.settle_unsent(conn, job, taken.sentence)
        return False
    return job["lock_mode"] != "skip" or _skip_locked(conn, job)


def _skip_locked(conn: Connection, job: RowMapping) -> bool:
    """Skip the hosts that other jobs have locked; whether any host is left."""
    taken = locks.take_free(conn, job["id"])
    if isinstance(taken, locks.Taken):
        settling.settle_unsent(conn, job, taken.sentence)
        return False
    ends = [HostResult(id_, "skipped", f"Host is locked by job {it.job_id}.") for id_, it in taken.items()]
    if ends:
        results.store_results(conn, job["id"], job["attempt"], ends)
    if len(ends) < job["host_count"]:
        return True
    settling.settle_unsent(conn, job, "")
    return False
