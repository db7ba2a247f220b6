"""Jobs that somebody holds, so that they begin on no further host, and where jobs stand in their roll-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from ..jobs.states import FINAL_JOB
from .leases import fence, release_job
from .schema import jobs


def ask_pause(conn: Connection, job_id: int, who: str) -> bool:
    """Note that *who* wants the job to begin on no further host; answer whether that changed anything.

    A job that asks for a go-ahead waits already, from now on because of *who*.
    """
    going = jobs.c.pause_asked.is_(False) | (jobs.c.paused_by == "")
    return _set(conn, job_id, [going], pause_asked=True, paused_by=who)


def ask_resume(conn: Connection, job_id: int) -> bool:
    """Note that the job may go on; answer whether that changed anything."""
    return _set(conn, job_id, [jobs.c.pause_asked.is_(True)], pause_asked=False, paused_by="")


def stand(
    conn: Connection,
    job_id: int,
    attempt: int,
    state: str,
    reason: str,
    progress: Mapping[str, Any],
    *,
    ask: bool = False,
) -> None:
    """Write down where a job stands in its roll-out; with *ask*, it is paused until somebody lets it go on.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    more = {"pause_asked": True} if ask else {}
    fence(conn, job_id, attempt, state=state, reason=reason, progress=dict(progress), **more)


def keep(conn: Connection, job_id: int, attempt: int, progress: Mapping[str, Any]) -> None:
    """Write down how far a job is, and nothing else.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    fence(conn, job_id, attempt, progress=dict(progress))


def give_back(conn: Connection, job_id: int, attempt: int, reason: str) -> None:
    """Let any worker take the job up, and note that this one did not die; *reason* says what it waits for.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    release_job(conn, job_id, attempt, reason)
    progress = conn.execute(select(jobs.c.progress).where(jobs.c.id == job_id)).scalar_one()
    change = update(jobs).where(jobs.c.id == job_id)
    conn.execute(change.values(progress={**(progress or {}), "released": attempt}))


def _set(conn: Connection, job_id: int, wanted: list[ColumnElement[bool]], **values: object) -> bool:
    still_open = jobs.c.id == job_id, jobs.c.state.not_in(FINAL_JOB | {"cancelling"}), *wanted
    change = update(jobs).where(*still_open).values(event=jobs.c.event + 1, **values)
    return bool(conn.execute(change).rowcount)
