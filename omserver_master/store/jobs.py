"""Jobs: one module, its parameters and a frozen list of hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from ..jobs.states import FINAL_JOB, OPEN_JOB
from . import clock, locks, mariadb
from .leases import Fenced, fence, is_one_of
from .schema import client_keys, host_results, jobs, server_list, users

#: The ids of the hosts that somebody may see; None: all of them.
Scope = Select[Any] | None

_ROWS_AT_ONCE = 500
#: Seconds that a transaction lasts at most.
_OVERLAP = 60.0
#: Made once: whoever waits for a job asks this again and again.
_EVENT_OF = select(jobs.c.event, jobs.c.finished).where(jobs.c.id == bindparam("job"))
_CLAIM_OF = select(jobs.c.attempt, jobs.c.cancel_asked, jobs.c.pause_asked, jobs.c.paused_by).where(
    jobs.c.id == bindparam("job")
)


def add_job(conn: Connection, job: Mapping[str, Any], hosts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add a queued job with its locks and a pending result for each of *hosts*; both are columns by name.

    ``created``, ``state`` and ``host_count`` are filled in; *hosts* need ``host_id``, ``host`` and ``ip``. A
    job has ``start_before``, or ``start_within``: so many seconds from now, by the database's clock.
    Answers the job as `job_row` would, but for the name of its client key.

    Raises:
        IntegrityError: the message id or the idempotency key was used before; look with
            `find_by_message` and `find_by_idempotency`, in a new transaction.
    """
    wanted = locks.names_for(job.get("locks") or (), [host["host_id"] for host in hosts])
    filled = {"state": "queued", "host_count": len(hosts), **job}
    filled["lock_mode"] = job.get("lock_mode", "queue") if wanted else ""
    row: dict[str, Any] = _AS_NEW | filled | _insert(conn, filled)
    row.pop("start_within", None)
    for part in parts(hosts):
        conn.execute(_ADD_HOSTS, [{"job_id": row["id"], **host} for host in part])
    locks.want(conn, row["id"], wanted)
    return row


def _insert(conn: Connection, filled: Mapping[str, Any]) -> dict[str, Any]:
    """Add the row; its id, and when it was created and must begin by the database's clock."""
    if conn.dialect.insert_returning and "created" not in filled:
        add = _ADD_TO_START if "start_within" in filled else _ADD_RETURNING
        return dict(conn.execute(add, filled).mappings().one())
    given = dict(filled)
    moments = {"created": given.get("created") or clock.now(conn)}
    if "start_within" in given:
        moments["start_before"] = moments["created"] + given.pop("start_within")
    key = conn.execute(insert(jobs), given | moments).inserted_primary_key
    assert key is not None
    return {"id": key[0], **moments}


def find_by_idempotency(conn: Connection, key_kid: str, user_id: int, key: str) -> RowMapping | None:
    """The job that this program and person submitted under the idempotency key *key*."""
    same = jobs.c.key_kid == key_kid, jobs.c.user_id == user_id, jobs.c.idempotency_key == key
    return conn.execute(_jobs().where(*same)).mappings().first()


def find_by_message(conn: Connection, key_kid: str, message_id: str) -> RowMapping | None:
    """The job that this program submitted with the message *message_id*."""
    same = jobs.c.key_kid == key_kid, jobs.c.message_id == message_id
    return conn.execute(_jobs().where(*same)).mappings().first()


def job_row(conn: Connection, job_id: int, scope: Scope = None) -> RowMapping | None:
    """The job, with the name of its client key as ``key_name``; None if there is none, or none in *scope*."""
    query = _JOB if scope is None else _JOB.where(*_in_scope(scope))
    return conn.execute(query, {"job": job_id}).mappings().first()


def list_jobs(
    conn: Connection,
    *,
    limit: int,
    before: int | None = None,
    state: str | None = None,
    module: str | None = None,
    user: str | None = None,
    host: str | None = None,
    since: float | None = None,
    until: float | None = None,
    scope: Scope = None,
) -> list[RowMapping]:
    """The newest jobs first, at most *limit*, older than the job *before*; *user* and *host* are names.

    *since* and *until* are about when they were created. Each filter alone leads through an index in the
    order of the ids, so that a page costs the same among ten jobs and among a million.
    """
    wanted = [*_in_scope(scope), *_created(conn, since, until)]
    if before is not None:
        wanted.append(jobs.c.id < before)
    if state is not None:
        wanted.append(jobs.c.state == state)
    if module is not None:
        wanted.append(jobs.c.module == module)
    if user is not None:
        wanted.append(jobs.c.user_id == _id_of(conn, users.c.id, users.c.name_key, user))
    # First the numbers, which an index alone has: MariaDB would read each whole job that it passes.
    page = select(jobs.c.id).where(*wanted).order_by(jobs.c.id.desc()).limit(limit)
    if host is not None:
        host_id = _id_of(conn, server_list.c.ID, server_list.c.name_key, host)
        narrow = [column for column, said in ((jobs.c.state, state), (jobs.c.module, module)) if said]
        page = _of_host(host_id, before, wanted, narrow, limit)
    elif (lead := _leading(state, module, user)) is not None:
        page = mariadb.force_index(page, jobs, lead)
    numbers = page.subquery()
    query = _jobs().join(numbers, numbers.c.id == jobs.c.id).order_by(jobs.c.id.desc())
    return list(conn.execute(query).mappings())


def _leading(state: str | None, module: str | None, user: str | None) -> Column[Any] | None:
    """The filter whose index MariaDB is told to go by; by itself it may read all jobs of the time."""
    if state in OPEN_JOB:  # they are few
        return jobs.c.state
    if module is not None:
        return jobs.c.module
    return jobs.c.user_id if user is not None else jobs.c.state if state is not None else None


def _of_host(
    host_id: int,
    before: int | None,
    wanted: Sequence[ColumnElement[bool]],
    narrow: Sequence[Column[Any]],
    limit: int,
) -> Select[Any]:
    """The numbers of the newest of the *wanted* jobs of one host, whose index leads.

    MariaDB is told to see in the index of the first of the *narrow* columns whether a job is wanted: by
    itself it reads the whole job.
    """
    order = host_results.c.job_id
    mine = [host_results.c.host_id == host_id, *([] if before is None else [order < before])]
    query = select(order.label("id")).join(jobs, order == jobs.c.id).where(*wanted, *mine)
    for column in narrow[:1]:
        for dialect in ("mariadb", "mysql"):
            query = query.prefix_with("STRAIGHT_JOIN", dialect=dialect)
        query = mariadb.force_index(query, jobs, column)
    return query.order_by(order.desc()).limit(limit)


def seen(conn: Connection, job_ids: Collection[int], scope: Scope) -> set[int]:
    """Those of these jobs that somebody who sees the hosts in *scope* may see."""
    if scope is None:
        return set(job_ids)
    wanted = (select(jobs.c.id).where(jobs.c.id.in_(part), *_in_scope(scope)) for part in parts([*job_ids]))
    return {job_id for query in wanted for job_id in conn.execute(query).scalars()}


def reruns_of(conn: Connection, job_id: int, scope: Scope = None) -> list[RowMapping]:
    """The jobs that do *job_id* again on some of its hosts, oldest first."""
    query = _RERUNS if scope is None else _RERUNS.where(*_in_scope(scope))
    return list(conn.execute(query, {"job": job_id}).mappings())


def jobs_with_hosts_off(conn: Connection) -> list[int]:
    """The jobs that are over and some of whose hosts are to be tried again until a time to come."""
    off = host_results.c.job_id == jobs.c.id, host_results.c.state == "unreachable"
    query = select(jobs.c.id).where(*_trying(conn), exists().where(*off)).order_by(jobs.c.id)
    return list(conn.execute(query).scalars())


def lock_trying(conn: Connection, job_id: int) -> RowMapping | None:
    """The job, held until the transaction ends, if its hosts are still to be tried again; else None."""
    held = conn.execute(select(jobs.c.id).where(jobs.c.id == job_id, *_trying(conn)).with_for_update())
    return None if held.first() is None else job_row(conn, job_id)


def stop_trying(conn: Connection, job_id: int) -> bool:
    """Try its hosts again no more, from now on; whether that would have gone on."""
    now = clock.now(conn)
    change = update(jobs).where(jobs.c.id == job_id, jobs.c.until > now)
    return conn.execute(change.values(until=now, event=jobs.c.event + 1)).rowcount > 0


class Latest(NamedTuple):
    """The *number* of a job's latest event, and whether it is *over*."""

    number: int
    over: bool


def event_of(conn: Connection, job_id: int, scope: Scope = None) -> Latest | None:
    """How far the job is; None if there is no such job (in *scope*)."""
    query = _EVENT_OF if scope is None else _EVENT_OF.where(*_in_scope(scope))
    row = conn.execute(query, {"job": job_id}).first()
    return None if row is None else Latest(row.event, row.finished is not None)


def claim_of(conn: Connection, job_id: int) -> RowMapping | None:
    """The number of the job's latest claim, and what people want of it; None: no such job."""
    return conn.execute(_CLAIM_OF, {"job": job_id}).mappings().first()


def set_state(conn: Connection, job_id: int, attempt: int, state: str, reason: str = "") -> None:
    """Say where an unfinished job stands and, in one line, what it waits for.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    fence(conn, job_id, attempt, state=state, reason=reason)


def set_reason(conn: Connection, job_id: int, attempt: int, reason: str) -> None:
    """Say in one line what an unfinished job waits for; ``""`` when nothing.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    fence(conn, job_id, attempt, reason=reason)


def finish_job(conn: Connection, job_id: int, attempt: int, state: str, reason: str = "") -> Fenced:
    """End the job, for good, and release its locks.

    Raises:
        LeaseLost: another worker has the job, or it is finished.
    """
    stands = fence(conn, job_id, attempt, over=True, state=state, reason=reason)
    if stands.lock_mode:
        locks.release(conn, job_id)
    return stands


def overdue_jobs(conn: Connection) -> list[RowMapping]:
    """Queued jobs that no worker has taken and that will not be run, oldest first.

    Their time to start is over, or they are to be cancelled.
    """
    over = or_(jobs.c.start_before < clock.now(conn), jobs.c.cancel_asked)
    waiting = jobs.c.state == "queued", jobs.c.worker.is_(None), over
    return list(conn.execute(_jobs().where(*waiting).order_by(jobs.c.id)).mappings())


def ask_cancel(conn: Connection, job_id: int) -> RowMapping | None:
    """Note that somebody wants the job stopped; its worker sees that when it renews its lease.

    What it was waiting for is over with that.
    A job that waits without a worker can be claimed at once, to be ended. A finished job stays as it is.
    """
    open_job = jobs.c.id == job_id, jobs.c.state.not_in(FINAL_JOB), jobs.c.cancel_asked.is_(False)
    asked = conn.execute(update(jobs).where(*open_job).values(cancel_asked=True, event=jobs.c.event + 1))
    if asked.rowcount:
        running = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(("running", "paused")))
        conn.execute(running.values(state="cancelling", reason=""))
        waiting = update(jobs).where(jobs.c.id == job_id, jobs.c.worker.is_(None))
        conn.execute(waiting.values(lease_until=None))
    return job_row(conn, job_id)


def state_counts(conn: Connection) -> dict[str, int]:
    """How many unfinished jobs are in each state."""
    query = select(jobs.c.state, func.count()).where(is_one_of(OPEN_JOB)).group_by(jobs.c.state)
    return {row[0]: row[1] for row in conn.execute(query)}


def count_in_state(conn: Connection, state: str, scope: Scope = None) -> int:
    """How many of the jobs that somebody may see are in *state*; meant for states of jobs that go on."""
    query = select(func.count()).select_from(jobs).where(jobs.c.state == state, *_in_scope(scope))
    return int(conn.execute(query).scalar_one())


def parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """*items* in pieces that are small enough for one statement on every database."""
    return (items[start : start + _ROWS_AT_ONCE] for start in range(0, len(items), _ROWS_AT_ONCE))


def _trying(conn: Connection) -> list[ColumnElement[bool]]:
    return [jobs.c.until > clock.now(conn), jobs.c.finished.is_not(None), jobs.c.cancel_asked.is_(False)]


def _id_of(conn: Connection, id_: Column[Any], key: Column[Any], name: str) -> int:
    """The id of whoever or whatever has that name in any case; one that nobody has, if there is none."""
    return conn.execute(select(id_).where(key == name.lower())).scalar() or 0


def _created(conn: Connection, since: float | None, until: float | None) -> list[ColumnElement[bool]]:
    """Conditions for jobs created in that time; the first and last id bound what has to be looked at.

    Ids and times go up together but for transactions that overlap, which last less than `_OVERLAP`.
    """
    found: list[ColumnElement[bool]] = []
    if since is not None:
        of_time = jobs.c.created >= since - _OVERLAP
        first = select(jobs.c.id).where(of_time).order_by(jobs.c.created).limit(1)
        found += [jobs.c.created >= since, jobs.c.id >= (conn.execute(first).scalar() or 0)]
    if until is not None:
        of_time = jobs.c.created <= until + _OVERLAP
        last = select(jobs.c.id).where(of_time).order_by(jobs.c.created.desc()).limit(1)
        found += [jobs.c.created <= until, jobs.c.id <= (conn.execute(last).scalar() or 0)]
    return found


def _jobs() -> Select[Any]:
    named = client_keys.c.name.label("key_name")
    return select(jobs, named).outerjoin(client_keys, client_keys.c.kid == jobs.c.key_kid)


_JOB = _jobs().where(jobs.c.id == bindparam("job"))
_RERUNS = _jobs().where(jobs.c.rerun_of == bindparam("job")).order_by(jobs.c.id)

#: Made once: every new job is written so. MySQL can't answer what it was given.
_ADD = insert(jobs).values(created=clock.utc_now())
_ADD_RETURNING = _ADD.returning(jobs.c.id, jobs.c.created)
_ADD_TO_START = _ADD.values(start_before=clock.utc_in("start_within")).returning(
    jobs.c.id, jobs.c.created, jobs.c.start_before
)
_ADD_HOSTS = insert(host_results)
#: What is in the columns that nothing is said of.
_AS_NEW: Final = {column.name: getattr(column.default, "arg", None) for column in jobs.c}


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    return [] if scope is None else [_has_host(host_results.c.host_id.in_(scope))]


def _has_host(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(host_results.c.job_id == jobs.c.id, condition)
