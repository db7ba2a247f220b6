"""Settle jobs that nobody can do any more: their time to start is over, or they can't be taken up."""

from __future__ import annotations

import logging
from functools import partial

from sqlalchemy import Connection, Engine, RowMapping

from omserver_master.errors import LeaseLost
from omserver_master.failpoints import reach
from omserver_master.machines import none_runs
from omserver_master.store import engine as store
from omserver_master.store import jobs, leases, locks, machines, results, workers

from .recorder import LEASE
from .states import job_end

log = logging.getLogger(__name__)

CANCELLED = "Cancelled before anything was sent to it."


def settle_all(engine: Engine, worker: str) -> int:
    """Settle every job that was queued for too long, or is to be cancelled there; answer how many.

    So it does with one that is to be cancelled on machines where no worker is running.
    """
    with store.read(engine) as conn:
        overdue = [row["id"] for row in jobs.overdue_jobs(conn)]
        left = _left_alone(conn)
    for job_id in overdue:
        store.transact(engine, partial(_expire, job_id=job_id, worker=worker))
        reach("settle.after_commit")
    for job_id, why in left.items():
        store.transact(engine, partial(_give_up, job_id=job_id, worker=worker, why=why))
    return len(overdue) + len(left)


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


def _left_alone(conn: Connection) -> dict[int, str]:
    """Jobs that are to be cancelled where no worker is, by their ids, and the sentence that says so."""
    left = {row["id"]: machines.unpacked(row["machines"]) for row in machines.left_cancelling(conn)}
    alive = workers.crew(conn).machines if left else {}
    return {
        job_id: f"{none_runs(names)}, so it could not be stopped."
        for job_id, names in left.items()
        if not any(name in alive for name in names)
    }


def _give_up(conn: Connection, job_id: int, worker: str, why: str) -> None:
    row = leases.claim_this(conn, job_id, worker, LEASE)
    if row is not None:
        _end(conn, row, f"{why} Look on the host what was done there.", CANCELLED)


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
