"""Locks that jobs want and hold: at most one job holds a name.

A job has a row for each of its names from its submit to its end: with a moment it holds the name, without one
it waits for it. Names go to jobs in the order of their ids. A job gets all of its names at once, or none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from . import clock
from .schema import job_locks, jobs, server_list

#: What people call a lock on each host of the job.
PER_HOST: Final = "host"
_HOST: Final = "host:"
_ROWS_AT_ONCE = 500

_mine, _theirs = job_locks.alias("mine"), job_locks.alias("theirs")


@dataclass(frozen=True)
class Taken:
    """A lock that another job has; *since* is None while that job only waits for it, being the older one."""

    name: str
    host: str
    """The host's name, for a lock on a host; else ``""``."""
    job_id: int
    user: str
    since: float | None

    @property
    def host_id(self) -> int | None:
        """The host that is locked; None for a lock with a name."""
        return int(self.name.removeprefix(_HOST)) if self.name.startswith(_HOST) else None

    @property
    def what(self) -> str:
        """What is locked, as the subject of a sentence."""
        return f"Host {self.host}" if self.host_id is not None else f"Lock {self.name}"

    @property
    def sentence(self) -> str:
        """Who has it, in a sentence that stays true until that job ends."""
        if self.since is None:
            return f"{self.what} is for job {self.job_id} first, which waits for it too."
        if self.host_id is None:
            return f"{self.what} is held by job {self.job_id}."
        return f"{self.what} is locked by job {self.job_id}."


def names_for(locks: Iterable[str], host_ids: Iterable[int]) -> list[str]:
    """The names under which *locks* are kept: `PER_HOST` becomes one for each host."""
    wanted = list(locks)
    names = {name for name in wanted if name != PER_HOST}
    if PER_HOST in wanted:
        names.update(f"{_HOST}{host_id}" for host_id in host_ids)
    return sorted(names)


def want(conn: Connection, job_id: int, names: Sequence[str]) -> None:
    """Let a new job wait for *names*."""
    for start in range(0, len(names), _ROWS_AT_ONCE):
        part = names[start : start + _ROWS_AT_ONCE]
        conn.execute(insert(job_locks), [{"job_id": job_id, "name": name} for name in part])


def wanted(conn: Connection, names: Sequence[str]) -> Taken | None:
    """The first of *names* that a job holds or waits for, and that job."""
    columns = job_locks.c.name, job_locks.c.job_id, job_locks.c.held_since
    order = job_locks.c.held_since.is_(None), job_locks.c.job_id, job_locks.c.name
    for start in range(0, len(names), _ROWS_AT_ONCE):
        some = job_locks.c.name.in_(names[start : start + _ROWS_AT_ONCE])
        row = conn.execute(select(*columns).where(some).order_by(*order).limit(1)).first()
        if row is not None:
            return _read(conn, [row])[0]
    return None


def take(conn: Connection, job_id: int) -> Taken | None:
    """Give the job all of its locks, or answer one that is in its way and give it none."""
    _hold(conn, job_id)
    found = in_the_way(conn, [job_id]).get(job_id)
    if found is None:
        _begin(conn, job_id)
    return found


def take_free(conn: Connection, job_id: int) -> dict[int, Taken] | Taken:
    """Give the job those locks on hosts that nobody holds; answer, by host, the others, which it gives up.

    A lock with a name that somebody holds is answered alone: then the job gets nothing.
    """
    _hold(conn, job_id)
    held = _held_by_others(conn, job_id)
    if named := next((taken for taken in held if taken.host_id is None), None):
        return named
    names = [taken.name for taken in held]
    for start in range(0, len(names), _ROWS_AT_ONCE):
        some = job_locks.c.name.in_(names[start : start + _ROWS_AT_ONCE])
        conn.execute(delete(job_locks).where(job_locks.c.job_id == job_id, some))
    _begin(conn, job_id)
    return {taken.host_id: taken for taken in held if taken.host_id is not None}


def release(conn: Connection, job_id: int) -> None:
    """The job has ended: it holds and wants nothing any more."""
    conn.execute(delete(job_locks).where(job_locks.c.job_id == job_id))


def must_wait() -> ColumnElement[bool]:
    """Whether the job of the row at hand, of ``jobs``, wants a lock that is not its turn to get."""
    other = _mine.join(_theirs, _theirs.c.name == _mine.c.name)
    return exists().select_from(other).where(_mine.c.job_id == jobs.c.id, _goes_first())


def in_the_way(conn: Connection, job_ids: Collection[int]) -> dict[int, Taken]:
    """For each of these waiting jobs that can't have all its locks, one of those; held ones come first."""
    holder = func.min(case((_theirs.c.held_since.is_not(None), _theirs.c.job_id)))
    first = func.coalesce(holder, func.min(_theirs.c.job_id)).label("other")
    both = _mine.join(_theirs, _theirs.c.name == _mine.c.name)
    waiting = select(_mine.c.job_id.label("waiting"), first).select_from(both)
    pairs = waiting.where(_mine.c.job_id.in_(job_ids), _goes_first()).group_by(_mine.c.job_id).subquery()
    shared = pairs.join(_mine, _mine.c.job_id == pairs.c.waiting).join(
        _theirs, and_(_theirs.c.name == _mine.c.name, _theirs.c.job_id == pairs.c.other)
    )
    columns = pairs.c.waiting, func.min(_theirs.c.name), pairs.c.other, func.min(_theirs.c.held_since)
    found = conn.execute(select(*columns).select_from(shared).group_by(pairs.c.waiting, pairs.c.other)).all()
    taken = _read(conn, [(name, other, since) for _, name, other, since in found])
    return {row[0]: one for row, one in zip(found, taken, strict=True)}


def _held_by_others(conn: Connection, job_id: int) -> list[Taken]:
    held = _theirs.c.job_id != job_id, _theirs.c.held_since.is_not(None)
    both = _mine.join(_theirs, _theirs.c.name == _mine.c.name)
    query = select(_theirs.c.name, _theirs.c.job_id, _theirs.c.held_since).select_from(both)
    rows = conn.execute(query.where(_mine.c.job_id == job_id, *held).order_by(_theirs.c.name))
    return _read(conn, rows.all())


def _read(
    conn: Connection, rows: Sequence[Row[Any, Any, Any] | tuple[str, int, float | None]]
) -> list[Taken]:
    """Rows of name, job and moment, with the names of the jobs' users and of the hosts."""
    people = _by_id(conn, jobs.c.id, jobs.c.user, {job_id for _, job_id, _ in rows})
    ids = {int(name.removeprefix(_HOST)) for name, _, _ in rows if name.startswith(_HOST)}
    hosts = _by_id(conn, server_list.c.ID, server_list.c.server_name, ids)

    def host(name: str) -> str:
        return hosts[int(name.removeprefix(_HOST))] if name.startswith(_HOST) else ""

    return [Taken(name, host(name), job_id, people[job_id], since) for name, job_id, since in rows]


def _by_id(conn: Connection, key: Column[int], value: Column[str], ids: Collection[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    wanted_ids = sorted(ids)
    for start in range(0, len(wanted_ids), _ROWS_AT_ONCE):
        some = key.in_(wanted_ids[start : start + _ROWS_AT_ONCE])
        found.update((row[0], row[1]) for row in conn.execute(select(key, value).where(some)))
    return found


def _hold(conn: Connection, job_id: int) -> None:
    """Until the transaction ends, let nobody else take what this job wants.

    Two claims of one name meet here: at least one of them sees the rows of the other. What it has to look at
    is read afterwards, by a statement of its own, that sees what was committed meanwhile.
    """
    names = select(_mine.c.name).where(_mine.c.job_id == job_id)
    rows = select(job_locks.c.job_id).where(job_locks.c.name.in_(names))
    conn.execute(rows.order_by(job_locks.c.name, job_locks.c.job_id).with_for_update()).all()


def _begin(conn: Connection, job_id: int) -> None:
    conn.execute(update(job_locks).where(job_locks.c.job_id == job_id).values(held_since=clock.now(conn)))


def _goes_first() -> ColumnElement[bool]:
    other = _theirs.c.job_id != _mine.c.job_id
    return other & or_(_theirs.c.held_since.is_not(None), _theirs.c.job_id < _mine.c.job_id)
