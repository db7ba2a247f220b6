"""Settle jobs that nobody works on: their worker is gone, or their time to start is over."""

from __future__ import annotations

import logging
from functools import partial

from sqlalchemy import Connection, Engine, RowMapping

from omserver_master.errors import LeaseLost
from omserver_master.store import engine as store
from omserver_master.store import jobs, leases, results

from .states import job_end

log = logging.getLogger(__name__)

#: Seconds of the claim under which a job is settled.
SETTLE_LEASE = 30.0


def settle_all(engine: Engine, worker: str) -> int:
    """Settle every job whose lease has run out or that was queued for too long; answer how many."""
    with store.read(engine) as conn:
        lost = [row["id"] for row in leases.expired_leases(conn)]
        overdue = [row["id"] for row in jobs.overdue_jobs(conn)]
    for job_id in lost:
        store.transact(engine, partial(_settle_lost, job_id=job_id, worker=worker))
    for job_id in overdue:
        store.transact(engine, partial(_expire, job_id=job_id, worker=worker))
    return len(lost) + len(overdue)


def _settle_lost(conn: Connection, job_id: int, worker: str) -> None:
    row = leases.claim_this(conn, job_id, worker, SETTLE_LEASE)
    if row is None:
        return
    before = results.counts(conn, [job_id])[job_id]
    if set(before) <= {"pending"} and not row["cancel_asked"]:
        log.warning("job %d: its worker stopped before anything was sent; it is queued again", job_id)
        jobs.requeue(conn, job_id, row["attempt"], "Its worker stopped before anything was sent.")
        return
    log.warning("job %d: its worker stopped while hosts worked", job_id)
    unknown = "The worker stopped while this host worked; look on the host, or ask the engine for the handle."
    _end(conn, row, unknown, "The worker stopped before this host was given anything.", interrupted=True)


def _expire(conn: Connection, job_id: int, worker: str) -> None:
    row = leases.claim_this(conn, job_id, worker, SETTLE_LEASE)
    if row is not None:
        _end(conn, row, "", "Its time to start was over before a worker was free.", expired=True)


def _end(conn: Connection, row: RowMapping, unknown: str, not_started: str, **why: bool) -> None:
    job_id, attempt = row["id"], row["attempt"]
    try:
        results.end_rows(conn, job_id, attempt, ["dispatched"], "unknown", unknown)
        results.end_rows(conn, job_id, attempt, ["pending"], "not_started", not_started)
        counts = results.counts(conn, [job_id])[job_id]
        jobs.finish_job(conn, job_id, attempt, job_end(counts, cancelled=row["cancel_asked"], **why), "")
    except LeaseLost:
        log.info("job %d was settled by another worker", job_id)
