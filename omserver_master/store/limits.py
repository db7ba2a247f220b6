"""How many jobs run at once: of one person, and in all."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from .schema import jobs, users

#: What counts: a job that waits in the queue, or that somebody paused, is no load.
_AT_WORK = jobs.c.state.in_(("running", "cancelling"))


@dataclass(frozen=True)
class Limits:
    """The most jobs that run at once; 0: as many as want to."""

    per_person: int = 0
    in_all: int = 0


def running(conn: Connection) -> int:
    """How many jobs run."""
    return conn.execute(select(func.count()).where(_AT_WORK)).scalar_one()


def running_of(conn: Connection, user_id: int) -> int:
    """How many jobs of that person run."""
    return conn.execute(select(func.count()).where(_AT_WORK, jobs.c.user_id == user_id)).scalar_one()


def people_with(conn: Connection, number: int) -> set[int]:
    """The ids of those of whom so many jobs run, or more."""
    busy = select(jobs.c.user_id).where(_AT_WORK).group_by(jobs.c.user_id).having(func.count() >= number)
    return set(conn.execute(busy).scalars())


def hold_all(conn: Connection) -> None:
    """Until the transaction ends, let nobody else who counts all jobs begin one."""
    first = select(func.min(users.c.id)).scalar_subquery()
    conn.execute(select(users.c.id).where(users.c.id == first).with_for_update(key_share=True)).all()


def hold_person(conn: Connection, user_id: int) -> None:
    """Until the transaction ends, let nobody else begin a job of that person."""
    conn.execute(select(users.c.id).where(users.c.id == user_id).with_for_update(key_share=True)).all()
