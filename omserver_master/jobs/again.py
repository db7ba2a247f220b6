"""Hosts that were off are tried again, until a time that was said or until they have answered.

A job with ``until`` that ended with hosts unreachable is followed by jobs like it on those hosts, each after
a longer wait than the one before, and never two at once. All that this needs is in the database: any worker
of any master may do it, and a restart changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import IntegrityError

from omserver_master import audit
from omserver_master.access import rights
from omserver_master.store import clock, hosts, jobs, keys, machines, results, users
from omserver_master.store import engine as store

from . import reaching
from .rerun import narrowed
from .states import OPEN_HOST

log = logging.getLogger(__name__)

#: Seconds between the end of a try and the next one; the last counts for all that follow.
WAITS: Final = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)
#: Seconds that a try may wait for its first dispatch.
START_BEFORE: Final = 3600.0

#: How a host stands in a try that has not reached it.
_STILL_OFF: Final = OPEN_HOST | {"unreachable", "not_started"}
#: What a try has from the first job.
_SAME: Final = (
    "module",
    "module_sha256",
    "title",
    "title_zh",
    "params",
    "user_id",
    "user",
    "key_kid",
    "request_hash",
    "repeat",
    "direct",
    "dry_run",
    "engines",
    "timeout",
    "locks",
    "lock_mode",
)


def try_again_all(engine: Engine) -> int:
    """Submit the tries whose time has come; answer how many."""
    with store.read(engine) as conn:
        firsts = jobs.jobs_with_hosts_off(conn)
    number = 0
    for first in firsts:
        try:
            number += store.transact(engine, partial(try_again, job_id=first))
        except IntegrityError:
            log.info("job %d is tried again by another worker", first)
    return number


def try_again(conn: Connection, job_id: int) -> bool:
    """Submit a try of a job if it is time for one; whether it was.

    Raises:
        IntegrityError: another worker did so just now.
    """
    first = jobs.lock_trying(conn, job_id)
    reruns = jobs.reruns_of(conn, job_id)
    if first is None or any(job["finished"] is None for job in reruns):
        return False
    tries = tries_among(reruns, job_id)
    off = hosts_off(conn, first, reruns)
    if not off or any(job["cancel_asked"] for job in tries):
        jobs.stop_trying(conn, first["id"])
        return False
    if clock.now(conn) < _due(first, tries):
        return False
    members = _members(conn, first, off)
    if not members:
        log.warning("job %d: nobody may try it again on its hosts any more", first["id"])
        jobs.stop_trying(conn, first["id"])
        return False
    _submit(conn, first, members, len(tries) + 1)
    return True


def tries_among(reruns: Sequence[RowMapping], first: int) -> list[RowMapping]:
    """Those of *reruns* that are tries of the job *first*, and not what somebody did again."""
    return [job for job in reruns if job["message_id"].startswith(_message_id(first, ""))]


def hosts_off(
    conn: Connection,
    first: RowMapping,
    reruns: Sequence[RowMapping],
    scope: jobs.Scope = None,
) -> list[int]:
    """The ids of the hosts of *first* that none of its *reruns* has reached so far."""
    off = [row["host_id"] for row in results.results(conn, first["id"], state="unreachable", scope=scope)]
    reached: set[int] = set()
    for job in reruns:
        if job["dry_run"] == first["dry_run"]:
            rows = results.results(conn, job["id"])
            reached.update(row["host_id"] for row in rows if row["state"] not in _STILL_OFF)
    return [host_id for host_id in off if host_id not in reached]


def standing(conn: Connection, first: RowMapping, scope: jobs.Scope = None) -> dict[str, Any] | None:
    """How trying again stands, or None where nobody asked for it or there was no need.

    ``off``: how many hosts did not answer yet; ``of``: how many were off at first; ``tries``: the ids of the
    jobs so far; ``at_work``: the one that is not over; ``next``: when the next one is due; ``until``: when
    trying ends, or ended; ``over``: whether it has.
    """
    if first["until"] is None or first["finished"] is None:
        return None
    at_first = len(results.results(conn, first["id"], state="unreachable", scope=scope))
    if not at_first:
        return None
    reruns = jobs.reruns_of(conn, first["id"])
    tries = tries_among(reruns, first["id"])
    open_tries = [job["id"] for job in tries if job["finished"] is None]
    over = not open_tries and clock.now(conn) >= first["until"]
    due = None if over or open_tries else _due(first, tries)
    return {
        "off": len(hosts_off(conn, first, reruns, scope)),
        "of": at_first,
        "tries": [job["id"] for job in tries],
        "at_work": open_tries[-1] if open_tries else None,
        "next": due if due is not None and due < first["until"] else None,
        "until": first["until"],
        "over": over,
    }


def _due(first: RowMapping, tries: Sequence[RowMapping]) -> float:
    last = tries[-1] if tries else first
    return float(last["finished"]) + WAITS[min(len(tries), len(WAITS) - 1)]


def _members(conn: Connection, first: RowMapping, off: Sequence[int]) -> list[dict[str, Any]]:
    """Those of the hosts *off* on which whoever asked may still run the module."""
    user, key = users.user_by_id(conn, first["user_id"]), keys.key_row(conn, first["key_kid"])
    if user is None or user["disabled"] or key is None or key["state"] != "active":
        return []
    person = rights.effective(rights.load_person(conn, user), key["role_cap"])
    forbidden = set(rights.may_run(conn, person, first["module"], off))
    known = hosts.hosts_by_id(conn, [host_id for host_id in off if host_id not in forbidden])
    return [
        {"host_id": row["id"], "host": row["name"], "ip": row["lip"] or row["wip"]}
        for row in known.values()
        if row["state"] != "retired"
    ]


def _submit(conn: Connection, first: RowMapping, members: Sequence[Mapping[str, Any]], number: int) -> None:
    start_before = min(clock.now(conn) + START_BEFORE, first["until"])
    reached_by = reaching.all_reach(conn, [each["host_id"] for each in members], first["engines"] or ())
    row = {name: first[name] for name in _SAME} | {
        # Each try has one number, whoever submits it: there is never a second one of it.
        "message_id": _message_id(first["id"], number),
        "rerun_of": first["id"],
        "rollout": narrowed(first["rollout"], {member["host_id"]: member["host"] for member in members}),
        "start_before": start_before,
        # Where no machine reaches them all any more, the try waits as the first job would, and says why.
        "machines": first["machines"] if reached_by == frozenset() else machines.packed(reached_by),
    }
    job_id = jobs.add_job(conn, row, members)["id"]
    names = ", ".join(member["host"] for member in members[:50])
    audit.by_itself(
        conn, first["user"], first["key_name"], "job.submit", f"job {job_id}", _told(first, number, names)
    )


def _told(first: RowMapping, number: int, names: str) -> str:
    return f"try {number} after job {first['id']}: module {first['module']} on {names}"[:4000]


def _message_id(first: int, number: int | str) -> str:
    """What no caller can send: messages have a UUID."""
    return f"again {first} {number}"
