"""Settle jobs that nobody can do any more: their time to start is over, or they can't be taken up."""

from __future__ import annotations

import logging
from functools import partial

from sqlalchemy import Connection, Engine, RowMapping

from omserver_master.errors import LeaseLost
from omserver_master.failpoints import reach
from omserver_master.store import engine as store
from omserver_master.store import jobs, leases, locks, results

from .recorder import LEASE
from .states import job_end

log = logging.getLogger(__name__)

CANCELLED = "Cancelled before anything was sent to it."


def settle_all(engine: Engine, worker: str) -> int:
    """Settle every job that was queued for too long, or is to be cancelled there; answer how many."""
    with store.read(engine) as conn:
        overdue = [row["id"] for row in jobs.overdue_jobs(conn)]
    for job_id in overdue:
        store.transact(engine, partial(_expire, job_id=job_id, worker=worker))
        reach("settle.after_commit")
    return len(overdue)


def settle_lost(conn: Connection, row: RowMapping, why: str) -> None:
    """End the claimed job *row*, which can't be taken up; *why* says it in a sentence.

    Raises:
        LeaseLost: another worker has it by now.
    """
    log.warning("job %d: %s", row["id"], why)
    unknown = f"{why} Look on the host what was done there."
    _end(conn, row, unknown, f"{why} This host had not been given anything.", interrupted=True)


def settle_unsent(conn: Connection, row: RowMapping, reason: str) -> None:
    """End the claimed job *row*, of which nothing was sent anywhere; *reason* says why in a sentence.

    Raises:
        LeaseLost: another worker has it by now.
    """
    _end(conn, row, "", reason, said="" if row["cancel_asked"] else reason)


def _expire(conn: Connection, job_id: int, worker: str) -> None:
    row = leases.claim_this(conn, job_id, worker, LEASE)
    if row is None:
        return
    if row["cancel_asked"]:
        settle_unsent(conn, row, CANCELLED)
        return
    taken = locks.in_the_way(conn, [job_id]).get(job_id)
    why = f"Its time to start was over. {taken.sentence}" if taken else ""
    _end(conn, row, "", why or "Its time to start was over before a worker was free.", why, expired=True)


def _end(
    conn: Connection, row: RowMapping, unknown: str, not_started: str, said: str = "", **why: bool
) -> None:
    job_id, attempt = row["id"], row["attempt"]
    try:
        results.end_rows(conn, job_id, attempt, ["dispatched"], "unknown", unknown)
        results.end_rows(conn, job_id, attempt, ["pending"], "not_started", not_started)
        counts = results.counts(conn, [job_id])[job_id]
        jobs.finish_job(conn, job_id, attempt, job_end(counts, cancelled=row["cancel_asked"], **why), said)
        reach("settle.before_commit")
    except LeaseLost:
        log.info("job %d was settled by another worker", job_id)
