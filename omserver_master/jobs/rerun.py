"""Doing a job again on some of its hosts: which those are, and what to say about them before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, RowMapping

from omserver_client.errors import BadRequest, NotFound, UnknownHost
from omserver_master.store import hosts, jobs, results
from omserver_master.store.jobs import Scope

from .selection import Named
from .states import FINAL_HOST, OPEN_HOST

#: Which of the first job's hosts a word means, by how they ended there.
MEANT: Final[Mapping[str, frozenset[str]]] = {
    "failed": frozenset({"failed", "timed_out"}),
    "unreachable": frozenset({"unreachable"}),
    "unfinished": frozenset({"not_started", "cancelled", "unknown"}),
    "all": FINAL_HOST,
}


#: What a roll-out says that has no meaning without batches.
_OF_BATCHES: Final = frozenset({"ask", "wait", "stop_after", "unreachable_counts"})


@dataclass(frozen=True)
class Rerun:
    """The first job, and its hosts: those that *on* means, a word of `MEANT`; or, if it is "", *hosts*."""

    job: int
    on: str = ""
    hosts: Sequence[Named] = ()

    @property
    def omctl(self) -> str:
        """The command line that asks for the same."""
        words = ["omctl", "job", "rerun", str(self.job)]
        for host in self.hosts:
            words += ["--host", host.name]
        return shlex.join([*words, *([f"--{self.on}"] if self.on else [])])

    def fields(self) -> list[Any]:
        """What makes it another one than another rerun, as JSON."""
        return [self.job, self.on, [[host.id, host.name, host.ip] for host in self.hosts]]


@dataclass(frozen=True)
class Again:
    """The hosts on which a job is to be done again."""

    first: RowMapping
    named: list[Named]
    warnings: list[Mapping[str, str]] = field(default_factory=list)
    #: Names of hosts of which the first job cannot tell whether it ran there.
    unknown: Sequence[str] = ()


def first_job(conn: Connection, job_id: int, scope: Scope) -> RowMapping:
    """The job that is to be done again.

    Raises:
        NotFound: there is none, or none in *scope*.
    """
    row = jobs.job_row(conn, job_id, scope)
    if row is None:
        raise NotFound(f"There is no job {job_id}, or it may not be seen.")
    return row


def choose_again(conn: Connection, rerun: Rerun, scope: Scope) -> Again:
    """The hosts that *rerun* means, as far as they are in *scope*.

    A host that is retired is left out with a warning, unless it was named: then the rest is refused with it.

    Raises:
        NotFound: there is no such job.
        UnknownHost: a host that was named was not in that job.
        BadRequest: no host fits, or the first job is still at work on one.
    """
    first = first_job(conn, rerun.job, scope)
    rows = results.results(conn, rerun.job, scope=scope)
    chosen = _ended(rerun, rows) if rerun.on else _picked(rerun, rows)
    _check_open(rerun, rows if rerun.on == "all" else chosen)
    known = hosts.hosts_by_id(conn, [row["host_id"] for row in chosen], scope)
    gone = [row["host"] for row in chosen if known[row["host_id"]]["state"] == "retired"] if rerun.on else []
    chosen = [row for row in chosen if row["host"] not in set(gone)]
    if not chosen:
        raise UnknownHost(f"Retired, so nothing runs there: {', '.join(gone[:20])}.", hosts=gone)
    addresses = {host.name.casefold(): host.ip for host in rerun.hosts}
    named = [Named(row["host_id"], row["host"], addresses.get(row["host"].casefold(), "")) for row in chosen]
    unknown = [row["host"] for row in chosen if row["state"] == "unknown"]
    return Again(first, named, [_gone(host) for host in gone], unknown)


def changed_module(first: RowMapping) -> Mapping[str, str]:
    """The warning that what runs now is not what ran then."""
    module, job = first["module"], str(first["id"])
    text = f"Module {module} was changed since job {job} ran it."
    return {"code": "module_changed", "module": module, "job": job, "text": text}


def may_have_run(host: str, job: int) -> Mapping[str, str]:
    """The warning that a module that is not to be repeated may have run on *host*."""
    text = f"{host} may have done it already: job {job} could not tell."
    return {"code": "may_have_run", "host": host, "job": str(job), "text": text}


def narrowed(rollout: Mapping[str, Any] | None, names: Mapping[int, str]) -> dict[str, Any] | None:
    """A job's roll-out for the hosts *names* (by id) alone: what it says of others is left out."""
    if rollout is None:
        return None
    kept = dict(rollout)
    known = {name.casefold() for name in names.values()}
    kept["canary"] = [name for name in rollout.get("canary", ()) if name.casefold() in known]
    kept["first"] = [host_id for host_id in rollout.get("first", ()) if host_id in names]
    kept["groups"] = _pairs([[id_ for id_ in group if id_ in names] for group in rollout.get("groups", ())])
    if isinstance(rollout.get("spread"), list):
        groups = [[name for name in group if name.casefold() in known] for group in rollout["spread"]]
        kept["spread"] = _pairs(groups)
    kept = {name: value for name, value in kept.items() if value != []}
    if not any(kept.get(name) for name in ("batch", "canary", "spread")):
        kept = {name: value for name, value in kept.items() if name not in _OF_BATCHES}
    return kept or None


def _pairs(groups: Sequence[list[Any]]) -> list[list[Any]]:
    return [group for group in groups if len(group) > 1]


def _gone(host: str) -> Mapping[str, str]:
    return {"code": "gone", "host": host, "text": f"{host} is retired, so it is left out."}


def _ended(rerun: Rerun, rows: Sequence[RowMapping]) -> list[RowMapping]:
    states = MEANT[rerun.on]
    found = [row for row in rows if row["state"] in states]
    if not found and rerun.on != "all":
        text = ", ".join(sorted(states)).replace("_", " ")
        raise BadRequest(f"Job {rerun.job} has no host that is {text}.", field="on")
    return found


def _picked(rerun: Rerun, rows: Sequence[RowMapping]) -> list[RowMapping]:
    if not rerun.hosts:
        raise BadRequest("Pick at least one host.", field="hosts")
    by_id = {row["host_id"]: row for row in rows}
    by_name = {row["host"].casefold(): row for row in rows}
    found: dict[int, RowMapping] = {}
    missing = []
    for named in rerun.hosts:
        row = by_id.get(named.id) if named.id is not None else by_name.get(named.name.casefold())
        if row is None:
            missing.append(named.name or f"#{named.id}")
        else:
            found[row["host_id"]] = row
    if missing:
        raise UnknownHost(f"Not a host of job {rerun.job}: {', '.join(missing[:20])}.", hosts=missing)
    return list(found.values())


def _check_open(rerun: Rerun, rows: Sequence[RowMapping]) -> None:
    busy = [row["host"] for row in rows if row["state"] in OPEN_HOST]
    if busy:
        text = f"Job {rerun.job} is not done on {', '.join(busy[:20])}; wait for it, or cancel it."
        raise BadRequest(text, field="on" if rerun.on else "hosts", hosts=busy)
