"""Why a job waits, in one line that is true at the moment it is read."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, RowMapping

from omserver_master.machines import none_runs
from omserver_master.store import jobs, limits, locks, machines, workers
from omserver_master.store.limits import Limits
from omserver_master.store.locks import Taken
from omserver_master.store.workers import Crew

from .claiming import MOST_JOBS
from .locking import code_of, told, values_of
from .states import OPEN_JOB

Row = Mapping[str, Any] | RowMapping
_DAY: Final = 86_400.0
#: Seconds for which it counts as known which workers are alive, and how much they have to do.
_LATELY: Final = 0.5
_CREWS: Final[WeakKeyDictionary[Engine, tuple[float, Crew]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Why:
    """A line for people; what a program tests, and the values that the line is made of.

    A value called ``since`` is in unix seconds.
    """

    code: str
    text: str
    values: Mapping[str, Any]

    def to_wire(self) -> dict[str, Any]:
        return {"code": self.code, "text": self.text, "values": dict(self.values)}


@dataclass(frozen=True)
class _Site:
    """What the lines of all jobs are made of."""

    now: float
    alive: int
    at_work: int
    most: Limits
    running: int
    full: Collection[int]
    taken: Mapping[int, Taken]
    ahead: Mapping[int, int]
    machines: Mapping[str, int]
    """How many workers are alive on each machine that has any; and how many jobs they have."""
    work: Mapping[str, int]

    @property
    def busy(self) -> bool:
        return self.at_work >= self.alive * MOST_JOBS


def reasons(
    conn: Connection, rows: Sequence[Row], most: Limits, scope: jobs.Scope = None, *, new: bool = False
) -> dict[int, Why]:
    """For each of these jobs that waits, why; *most* is how many may run at once.

    Of jobs without a host in *scope* no more than the number is told. Nothing is asked where all are over.
    Of *new* ones, which many callers may submit at once, it is said by what was known a moment ago.
    """
    unfinished = [row for row in rows if row["state"] in OPEN_JOB]
    if not unfinished:
        return {}
    crew = _crew_lately(conn) if new else _crew(conn)
    site = _look(conn, crew, [row for row in unfinished if row["state"] == "queued"], most, scope)
    found = {
        row["id"]: _queued(row, site) if row["state"] == "queued" else _begun(row, site) for row in unfinished
    }
    return {job_id: why for job_id, why in found.items() if why is not None}


def _look(conn: Connection, crew: Crew, queued: Sequence[Row], most: Limits, scope: jobs.Scope) -> _Site:
    now, alive, at_work, on_machines = crew
    wanting = [row["id"] for row in queued if row["lock_mode"] == "queue"]
    busy = queued and at_work >= alive * MOST_JOBS
    return _Site(
        now=now,
        alive=alive,
        at_work=at_work,
        most=most,
        running=limits.running(conn) if queued and most.in_all else 0,
        full=limits.people_with(conn, most.per_person) if queued and most.per_person else (),
        taken=told(conn, locks.in_the_way(conn, wanting), scope) if wanting else {},
        ahead=workers.jobs_before(conn, [row["id"] for row in queued]) if busy else {},
        machines=on_machines,
        work=workers.at_work_on(conn) if any(row["machines"] for row in queued) else {},
    )


def _crew(conn: Connection) -> Crew:
    crew = workers.crew(conn)
    _CREWS[conn.engine] = time.monotonic(), crew
    return crew


def _crew_lately(conn: Connection) -> Crew:
    """The workers as they are, or, where some are alive, were a moment ago."""
    looked, crew = _CREWS.get(conn.engine, (0.0, None))
    age = time.monotonic() - looked
    return crew._replace(now=crew.now + age) if crew and crew.alive and age < _LATELY else _crew(conn)


def _queued(row: Row, site: _Site) -> Why | None:
    """Why a job of the queue was not begun; None: it is about to be, or to be cancelled."""
    if not site.alive:
        return _NO_WORKER
    if row["cancel_asked"]:
        return None
    if absent := _no_machine(row, site):
        return absent
    if row["id"] in site.taken:
        return _locked(site.taken[row["id"]], site.now)
    if row["user_id"] in site.full:
        number = site.most.per_person
        text = f"{row['user']} already runs {_jobs(number)}, the most allowed."
        return Why("person_limit", text, {"user": row["user"], "number": number})
    if site.most.in_all and site.running >= site.most.in_all:
        number = site.most.in_all
        text = "1 job runs already" if number == 1 else f"{number} jobs run already"
        return Why("limit", f"{text}, the most allowed.", {"number": number})
    if site.busy:
        return _busy(site.alive, site.ahead.get(row["id"], 0))
    return _machine_busy(row, site) or _said(row)


def _begun(row: Row, site: _Site) -> Why | None:
    """Why a job that was begun does not go on; None where it does."""
    left = row["lease_until"] is not None and row["lease_until"] < site.now
    if not left and row["worker"] is not None:
        return _said(row)
    if not site.alive:
        return _NO_WORKER
    if absent := _no_machine(row, site):
        return absent
    if left:
        since = row["lease_until"]
        text = f"Its worker has not answered since {_moment(since, site.now)}; another one takes it up."
        return Why("worker_gone", text, {"since": since})
    return _said(row)


def _no_machine(row: Row, site: _Site) -> Why | None:
    """That no worker is alive on a machine that reaches the job's hosts."""
    names = machines.unpacked(row["machines"])
    if not names or any(name in site.machines for name in names):
        return None
    return Why("no_machine", f"{none_runs(names)}.", {"machines": names})


def _machine_busy(row: Row, site: _Site) -> Why | None:
    """That all workers on the machines that reach the job's hosts have enough to do."""
    names = machines.unpacked(row["machines"])
    number = sum(site.machines.get(name, 0) for name in names)
    if not names or sum(site.work.get(name, 0) for name in names) < number * MOST_JOBS:
        return None
    who = "The worker on machine" if number == 1 else f"All {number} workers on machine"
    text = f"{who} {', '.join(names)} {'is' if number == 1 else 'are'} busy."
    return Why("machine_busy", text, {"number": number, "machines": names})


def _said(row: Row) -> Why | None:
    """What the job's own run says; that it begins on no other host is nothing to wait for."""
    if not row["reason"]:
        return None
    stopped = (row["progress"] or {}).get("stopped") == row["reason"]
    return Why("stopped" if stopped else "reason", row["reason"], {})


def _busy(number: int, ahead: int) -> Why:
    who = "The worker is busy" if number == 1 else f"All {number} workers are busy"
    before = "1 job is before it" if ahead == 1 else f"{ahead} jobs are before it"
    return Why("busy", f"{who}; {before}.", {"number": number, "ahead": ahead})


def _locked(taken: Taken, now: float) -> Why:
    text = taken.sentence
    if taken.since is not None and taken.user:
        text = f"{text.removesuffix('.')} ({taken.user}, since {_moment(taken.since, now)})."
    return Why(code_of(taken), text, values_of(taken))


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _moment(seconds: float, now: float) -> str:
    """A time of day, with the day where that was not within the last one; UTC, since many places read it."""
    form = "%H:%M UTC" if now - seconds < _DAY / 2 else "%Y-%m-%d %H:%M UTC"
    return time.strftime(form, time.gmtime(seconds))


_NO_WORKER: Final = Why("no_worker", "No worker is running.", {})
