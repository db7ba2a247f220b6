"""Jobs that somebody wants kept, whatever their age and size; see retention.py for what that keeps."""

from __future__ import annotations

from sqlalchemy import Connection, update

from .schema import jobs


def set_pinned(conn: Connection, job_id: int, pinned: bool) -> bool:
    """Keep a job whole, or no longer; answer whether that changed anything. Whoever watches it is told."""
    other = jobs.c.id == job_id, jobs.c.pinned.is_not(pinned)
    change = update(jobs).where(*other).values(pinned=pinned, event=jobs.c.event + 1)
    return bool(conn.execute(change).rowcount)
