"""What happened on each host of a job, and everything that changed since an event number.

All changes of a job's rows go through the job's own row lock: event numbers are committed in their order, so
that whoever has seen number N has seen all before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    RowMapping,
    Select,
    Update,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import mysql

from ..errors import CancelAsked, PauseAsked
from ..jobs.states import OPEN_HOST
from . import clock, steps
from .clock import utc_now
from .jobs import Scope, parts
from .leases import Fenced, fence
from .outputs import SealedOutput, put_sealed
from .schema import host_results, jobs, server_list
from .steps import StepDone

#: Made once: whoever follows a job asks this.
_NEWEST = select(jobs.c.event).where(jobs.c.id == bindparam("job"))
_CHANGED = (
    select(host_results)
    .where(host_results.c.job_id == bindparam("job"), host_results.c.event > bindparam("since"))
    .order_by(host_results.c.event, host_results.c.host_id)
    .limit(bindparam("most"))
)
_OF_JOB = host_results.c.job_id == bindparam("job")
#: Each row with what module code is told of the host as it is today: ``os`` and ``facts``.
_TODAY = server_list.c.server_op.label("os"), server_list.c.facts
#: What a worker goes by: a row's texts and sizes are for who looks at it.
_WHO = "host_id", "host", "ip", "connection", "remote_id", "handle"
_HOW = "state", "reason", "started", "first_line", "step", "work"
_ALL = (
    select(*(host_results.c[name] for name in _WHO + _HOW), *_TODAY)
    .outerjoin(server_list, host_results.c.host_id == server_list.c.ID)
    .where(_OF_JOB)
    .order_by(host_results.c.host_id)
)

#: No event has more rows than this: who asks what is new gets it in pieces, however many hosts there are.
ROWS_OF_EVENT: Final = 500
#: Ends that a late answer may still put right.
UNCERTAIN: Final = frozenset({"unknown", "timed_out", "unreachable"})
_MAY_BE_ASKED: Final = (
    host_results.c.state.in_(UNCERTAIN),
    host_results.c.handle.not_in(("", "direct")),
    host_results.c.started.is_not(None),
)
_DAY: Final = 86_400.0


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
    same = {"state": "dispatched", "event": stands.event, "handle": handle, "connection": connection}
    same |= {"work": work, "reason": ""}
    known, passed, number = remote_ids or {}, passed_over or {}, step or {}
    rows: list[dict[str, Any]] = [
        {
            "host_key": id_,
            **same,
            "remote_id": known.get(id_, ""),
            "passed_over": _short(passed.get(id_, "")),
            "step": number.get(id_, 1),
        }
        for id_ in host_ids
    ]
    if len(rows) == 1:
        _change_open(conn, job_id, rows[0], begun=True)
        return
    states = _states(conn, job_id, host_ids)
    _change(conn, job_id, [row for row in rows if states.get(row["host_key"]) in OPEN_HOST], begun=True)


def mark_not_sent(conn: Connection, job_id: int, host_ids: Sequence[int], attempt: int) -> None:
    """Put hosts back to pending: it was proved that nothing had been sent to them after all.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    event = fence(conn, job_id, attempt).event
    rows = host_results.c.job_id == job_id, host_results.c.state == "dispatched"
    back = {"state": "pending", "handle": "", "started": None, "event": event}
    for part in parts(host_ids):
        conn.execute(update(host_results).where(*rows, host_results.c.host_id.in_(part)).values(**back))


def store_results(conn: Connection, job_id: int, attempt: int, ends: Iterable[HostResult]) -> list[int]:
    """Store a batch of ends together; answer the ids of the hosts whose row changed.

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
    if len(batch) == 1 and _write_open(conn, job_id, stands, batch[0]):
        return [batch[0].host_id]
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
    ids = conn.execute(select(host_results.c.host_id).where(*open_rows)).scalars().all()
    ended = {"state": after, "reason": reason, "finished": clock.now(conn)}
    _change(conn, job_id, [{"host_key": id_, **ended, "event": event} for id_ in ids])
    return len(ids)


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


def all_results(conn: Connection, job_id: int) -> list[RowMapping]:
    """How each of the job's hosts stands, with its ``os`` and ``facts`` of today: what a worker goes by."""
    return list(conn.execute(_ALL, {"job": job_id}).mappings())


def uncertain(conn: Connection, job_id: int) -> list[RowMapping]:
    """As `all_results`, where the end may still be put right: they had work, and an engine knows it."""
    return list(conn.execute(_ALL.where(*_MAY_BE_ASKED), {"job": job_id}).mappings())


def uncertain_since(conn: Connection, moment: float) -> list[int]:
    """The jobs that are over since *moment* (unix seconds), at most a day old, with such rows."""
    lately = jobs.c.created > moment - _DAY, jobs.c.finished > moment
    rows = exists().where(host_results.c.job_id == jobs.c.id, *_MAY_BE_ASKED)
    return list(conn.execute(select(jobs.c.id).where(*lately, rows).order_by(jobs.c.id)).scalars())


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
        asked = {"job": job_id, "hosts": list(part)}
        look = _look_up() if conn.dialect.name == "postgresql" else _LOOK_IN
        states.update((id_, state) for id_, state in conn.execute(look, asked))
    return states


_LOOK_IN = select(host_results.c.host_id, host_results.c.state).where(
    host_results.c.job_id == bindparam("job"), host_results.c.host_id.in_(bindparam("hosts", expanding=True))
)


@cache
def _look_up() -> Select[Any]:
    """As `_LOOK_IN`, a row at a time by its key.

    PostgreSQL takes a job that it has no statistics of for a small one, and would read all of its rows, with
    every version of them that was not vacuumed yet.
    """
    asked = func.unnest(bindparam("hosts", type_=ARRAY(Integer))).table_valued("host_id").render_derived()
    mine = host_results.c.job_id == bindparam("job"), host_results.c.host_id == asked.c.host_id
    row = select(host_results.c.host_id, host_results.c.state).where(*mine).offset(0).lateral()
    return select(row.c.host_id, row.c.state).select_from(asked.join(row, true()))


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


def _write_open(conn: Connection, job_id: int, stands: Fenced, end: HostResult) -> bool:
    """Store the one end of a host that has none yet, without looking first; whether it had none."""
    if end.state in OPEN_HOST:
        return False
    row = _columns(end, stands.event, stands.now, end.late)
    _put_texts(conn, [row], {end.host_id: end})
    return _change_open(conn, job_id, row)


def _write(conn: Connection, job_id: int, rows: list[dict[str, Any]], ends: Mapping[int, HostResult]) -> None:
    if rows:
        _put_texts(conn, rows, ends)
        _change(conn, job_id, rows)


def _put_texts(conn: Connection, rows: list[dict[str, Any]], ends: Mapping[int, HostResult]) -> None:
    """Store what the hosts printed, and name it in their rows."""
    texts = [text for end in ends.values() for text in (end.stdout, end.stderr) if text]
    ids = put_sealed(conn, texts)
    for row in rows:
        end = ends[row["host_key"]]
        row["stdout_id"] = ids[end.stdout.digest] if end.stdout else None
        row["stderr_id"] = ids[end.stderr.digest] if end.stderr else None


def _change_open(conn: Connection, job_id: int, row: Mapping[str, Any], *, begun: bool = False) -> bool:
    """As `_change`, of one row that has no end yet; whether there was such a row."""
    names = tuple(name for name in row if name != "host_key")
    return bool(conn.execute(_update_open(names, begun=begun), {"job": job_id, **row}).rowcount)


def _change(conn: Connection, job_id: int, rows: list[dict[str, Any]], *, begun: bool = False) -> None:
    """Set in each host's row (``host_key``) what its dict says; *begun*: it starts now, if it had not before.

    The rows are there: the job's lock is held since they were looked at. Their ``event`` is the job's newest;
    with very many rows, more events follow it.
    """
    if not rows:
        return
    if more := (len(rows) - 1) // ROWS_OF_EVENT:
        conn.execute(update(jobs).where(jobs.c.id == job_id).values(event=jobs.c.event + more))
    for place, row in enumerate(rows):
        row["event"] += place // ROWS_OF_EVENT
    names = tuple(name for name in rows[0] if name != "host_key")
    if conn.dialect.name in ("mysql", "mariadb"):
        statement, job, host = _insert_over(names, begun=begun), "job_id", "host_id"
    else:
        statement, job, host = _update(names, begun=begun), "job", "host_key"
    rows = [{job: job_id, host: row.pop("host_key"), **row} for row in rows]
    for part in parts(rows):
        conn.execute(statement, part)


@cache
def _update(names: tuple[str, ...], *, begun: bool) -> Update:
    return _this_row().values({name: bindparam(name) for name in names} | (_BEGUN if begun else {}))


@cache
def _update_open(names: tuple[str, ...], *, begun: bool) -> Update:
    return _update(names, begun=begun).where(or_(*(host_results.c.state == state for state in OPEN_HOST)))


@cache
def _insert_over(names: tuple[str, ...], *, begun: bool) -> Executable:
    """As `_update`, which would be sent row by row; an insert of rows that are there goes out as one."""
    insert = mysql.insert(host_results).values(host="")
    values = {name: insert.inserted[name] for name in names}
    return insert.on_duplicate_key_update(values | (_BEGUN if begun else {}))


_BEGUN = {"started": func.coalesce(host_results.c.started, utc_now())}
