"""What happened on each host of a job, and everything that changed since an event number.

All changes of a job's rows go through the job's own row lock: event numbers are committed in their order, so
that whoever has seen number N has seen all before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Update, bindparam, func, or_, select, update

from ..errors import CancelAsked, PauseAsked
from ..jobs.states import OPEN_HOST
from . import clock, steps
from .clock import utc_now
from .jobs import Scope, parts
from .leases import Fenced, fence
from .outputs import SealedOutput, put_sealed
from .schema import host_results, jobs
from .steps import StepDone

#: Made once: whoever follows a job asks this.
_NEWEST = select(jobs.c.event).where(jobs.c.id == bindparam("job"))
_CHANGED = (
    select(host_results)
    .where(host_results.c.job_id == bindparam("job"), host_results.c.event > bindparam("since"))
    .order_by(host_results.c.event, host_results.c.host_id)
    .limit(bindparam("most"))
)

#: Ends that a late answer may still put right.
UNCERTAIN: Final = frozenset({"unknown", "timed_out", "unreachable"})


@dataclass(frozen=True)
class HostResult:
    """The end of one host's work. Times are unix seconds; None: the time of storing."""

    host_id: int
    state: str
    reason: str = ""
    rc: int | None = None
    stdout: SealedOutput | None = None
    stderr: SealedOutput | None = None
    stdout_cut: int = 0
    stderr_cut: int = 0
    finished: float | None = None
    late: bool = False


def mark_dispatched(
    conn: Connection,
    job_id: int,
    host_ids: Sequence[int],
    handle: str,
    connection: str,
    attempt: int,
    remote_ids: Mapping[int, str] | None = None,
    passed_over: Mapping[int, str] | None = None,
    work: str = "",
    step: Mapping[int, int] | None = None,
    done: Sequence[StepDone] = (),
    lease: float = 0,
    reason: str = "",
    begins: bool = False,
) -> None:
    """Write down, before anything is sent, that *host_ids* get their work over *connection* under *handle*.

    The job is running from then on. *passed_over* says, for hosts not on their first way, why not. *work* is
    the hash of what is asked, *step* the number of each host's step (1 if not said), *done* what the steps
    before were answered. With *lease*, the claim is good for so many seconds from now. *reason* is what the
    job waits for beside; *begins* whether any of the hosts had not been given anything before.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
        CancelAsked: somebody was told that the job will be stopped.
        PauseAsked: it *begins*, and somebody was told that the job begins on no further host.
    """
    stands = fence(conn, job_id, attempt, lease=lease or None, begun=True, reason=reason)
    if stands.cancel_asked:
        raise CancelAsked
    if begins and stands.pause_asked:
        raise PauseAsked
    if done:
        steps.record(conn, job_id, done)
    known, passed, number = remote_ids or {}, passed_over or {}, step or {}
    same = {"job": job_id, "way": handle, "over": connection, "asked": work, "number_of_event": stands.event}

    def own(id_: int) -> dict[str, Any]:
        return {
            "host_key": id_,
            "remote": known.get(id_, ""),
            "passed": _short(passed.get(id_, "")),
            "number": number.get(id_, 1),
        }

    for part in parts(host_ids):
        conn.execute(_DISPATCHED, [same | own(id_) for id_ in part])


def mark_not_sent(conn: Connection, job_id: int, host_ids: Sequence[int], attempt: int) -> None:
    """Put hosts back to pending: it was proved that nothing had been sent to them after all.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    event = fence(conn, job_id, attempt).event
    change = _this_row().where(host_results.c.state == "dispatched")
    change = change.values(state="pending", handle="", started=None, event=event)
    for part in parts(host_ids):
        conn.execute(change, [{"job": job_id, "host_key": id_} for id_ in part])


def store_results(conn: Connection, job_id: int, attempt: int, ends: Iterable[HostResult]) -> list[int]:
    """Store a batch of ends under one event number; answer the ids of the hosts whose row changed.

    The first end of a host stays, except that a late answer replaces one of `UNCERTAIN`. An end for a host
    that is not of this job is dropped. A finished job takes late answers too.

    Raises:
        LeaseLost: another worker has the job.
    """
    return store_under(conn, job_id, fence(conn, job_id, attempt, even_finished=True), ends)


def store_under(conn: Connection, job_id: int, stands: Fenced, ends: Iterable[HostResult]) -> list[int]:
    """As `store_results`, in a transaction that has locked the job's row already."""
    event, now = stands.event, stands.now
    batch = list(ends)
    states = _states(conn, job_id, [end.host_id for end in batch])
    accepted: dict[int, HostResult] = {}
    late: set[int] = set()
    for end in batch:
        before = states.get(end.host_id)
        if before is None or not may_replace(before, end.state):
            continue
        states[end.host_id] = end.state
        accepted[end.host_id] = end
        if end.late or before in UNCERTAIN:
            late.add(end.host_id)
    _write(conn, job_id, [_columns(end, event, now, id_ in late) for id_, end in accepted.items()], accepted)
    return sorted(accepted)


def may_replace(before: str, after: str) -> bool:
    """Whether a host's state *before* may become *after*."""
    if after in OPEN_HOST:
        return False
    return before in OPEN_HOST or (before in UNCERTAIN and after not in UNCERTAIN)


def end_rows(
    conn: Connection, job_id: int, attempt: int, before: Collection[str], after: str, reason: str
) -> int:
    """End all rows that are in one of the open states *before*; answer how many there were.

    Raises:
        LeaseLost: another worker has the job.
    """
    event = fence(conn, job_id, attempt).event
    open_rows = host_results.c.job_id == job_id, host_results.c.state.in_(OPEN_HOST.intersection(before))
    ended = {"state": after, "reason": reason, "finished": clock.now(conn), "event": event}
    return conn.execute(update(host_results).where(*open_rows).values(**ended)).rowcount


def results(
    conn: Connection,
    job_id: int,
    *,
    state: str | None = None,
    limit: int | None = None,
    after: int | None = None,
    scope: Scope = None,
) -> list[RowMapping]:
    """Rows of the job in the order of their host ids, *after* that one."""
    wanted = [host_results.c.job_id == job_id, *_in_scope(scope)]
    if state is not None:
        wanted.append(host_results.c.state == state)
    if after is not None:
        wanted.append(host_results.c.host_id > after)
    query = select(host_results).where(*wanted).order_by(host_results.c.host_id).limit(limit)
    return list(conn.execute(query).mappings())


def result_row(conn: Connection, job_id: int, host_id: int, scope: Scope = None) -> RowMapping | None:
    """One host's row of the job."""
    wanted = host_results.c.job_id == job_id, host_results.c.host_id == host_id, *_in_scope(scope)
    return conn.execute(select(host_results).where(*wanted)).mappings().first()


def events_since(
    conn: Connection,
    job_id: int,
    since: int,
    *,
    limit: int = 2000,
    scope: Scope = None,
    newest: int | None = None,
) -> tuple[list[RowMapping], int]:
    """The rows that changed after the event *since*, and the number to ask with the next time.

    At most about *limit* rows: the rows of one event are never torn apart. With more to come, the number
    answered is below the job's own. *newest* is the number of the job's row, where that was read before.
    """
    if newest is None:
        newest = conn.execute(_NEWEST, {"job": job_id}).scalar() or 0
    query = _CHANGED if scope is None else _CHANGED.where(*_in_scope(scope))
    asked = {"job": job_id, "since": since}
    rows = list(conn.execute(query, {**asked, "most": limit}).mappings())
    if len(rows) < limit:
        return rows, max(newest, rows[-1]["event"] if rows else since)
    last = rows[-1]["event"]
    rest = query.where(host_results.c.event == last, host_results.c.host_id > rows[-1]["host_id"])
    rows += conn.execute(rest, {**asked, "most": 1 << 31}).mappings()
    return rows, last


def counts(conn: Connection, job_ids: Sequence[int], scope: Scope = None) -> dict[int, dict[str, int]]:
    """For each job, how many of its hosts are in each state; states with none are left out."""
    found: dict[int, dict[str, int]] = {job_id: {} for job_id in job_ids}
    for part in parts(job_ids):
        query = (
            select(host_results.c.job_id, host_results.c.state, func.count())
            .where(host_results.c.job_id.in_(part), *_in_scope(scope))
            .group_by(host_results.c.job_id, host_results.c.state)
        )
        for job_id, state, number in conn.execute(query):
            found[job_id][state] = number
    return found


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    return [] if scope is None else [host_results.c.host_id.in_(scope)]


def _states(conn: Connection, job_id: int, host_ids: Sequence[int]) -> dict[int, str]:
    states: dict[int, str] = {}
    for part in parts(host_ids):
        found = conn.execute(_STATES, {"job": job_id, "host_keys": part})
        states.update((id_, state) for id_, state in found)
    return states


def _this_row() -> Update:
    return update(host_results).where(
        host_results.c.job_id == bindparam("job"), host_results.c.host_id == bindparam("host_key")
    )


def _short(text: str) -> str:
    """*text* as it fits into a name's column."""
    return text if len(text) <= 255 else text[:254] + "…"


def _columns(end: HostResult, event: int, now: float, late: bool) -> dict[str, Any]:
    return {
        "host_key": end.host_id,
        "state": end.state,
        "reason": end.reason,
        "rc": end.rc,
        "finished": now if end.finished is None else end.finished,
        "stdout_bytes": end.stdout.size if end.stdout else 0,
        "stderr_bytes": end.stderr.size if end.stderr else 0,
        "stdout_cut": end.stdout_cut,
        "stderr_cut": end.stderr_cut,
        "first_line": (end.stdout and end.stdout.first_line) or (end.stderr and end.stderr.first_line) or "",
        "late": late,
        "event": event,
    }


def _write(conn: Connection, job_id: int, rows: list[dict[str, Any]], ends: Mapping[int, HostResult]) -> None:
    if not rows:
        return
    texts = [text for end in ends.values() for text in (end.stdout, end.stderr) if text]
    ids = put_sealed(conn, texts)
    for row in rows:
        end = ends[row["host_key"]]
        row["job"] = job_id
        row["stdout_id"] = ids[end.stdout.digest] if end.stdout else None
        row["stderr_id"] = ids[end.stderr.digest] if end.stderr else None
    conn.execute(_ending(tuple(name for name in rows[0] if name not in ("job", "host_key"))), rows)


@cache
def _ending(names: tuple[str, ...]) -> Update:
    return _this_row().values({name: bindparam(name) for name in names})


# Made once: making them costs more than the database takes for them.
_DISPATCHED = (
    _this_row()
    .where(or_(host_results.c.state == "pending", host_results.c.state == "dispatched"))
    .values(
        state="dispatched",
        reason="",
        started=func.coalesce(host_results.c.started, utc_now()),
        handle=bindparam("way"),
        connection=bindparam("over"),
        work=bindparam("asked"),
        event=bindparam("number_of_event"),
        remote_id=bindparam("remote"),
        passed_over=bindparam("passed"),
        step=bindparam("number"),
    )
)
_STATES = select(host_results.c.host_id, host_results.c.state).where(
    host_results.c.job_id == bindparam("job"),
    host_results.c.host_id.in_(bindparam("host_keys", expanding=True)),
)
