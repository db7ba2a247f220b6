"""The locks of a job before it is submitted: which it wants, and what to say where another job has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from omserver_client.errors import Locked
from omserver_master.store import jobs, locks
from omserver_master.store.locks import Taken


@dataclass(frozen=True)
class WantedLocks:
    """The locks that a job wants, by the names that people use, and what it does while one is held."""

    names: tuple[str, ...] = ()
    mode: str = "queue"

    def with_those_of(self, names: Sequence[str]) -> WantedLocks:
        """These, and *names* too: nobody runs a module without the locks that it names."""
        return WantedLocks(tuple(sorted({*self.names, *names})), self.mode)

    def words(self) -> list[str]:
        """The options of omctl that ask for them."""
        options = [word for name in self.names for word in ("--lock", name)]
        return options + (["--lock-mode", self.mode] if self.names and self.mode != "queue" else [])

    def columns(self) -> dict[str, Any]:
        """What of them is stored with the job."""
        return {"locks": list(self.names) or None, "lock_mode": self.mode}


def taken(
    conn: Connection, wanted: WantedLocks, host_ids: Sequence[int], scope: jobs.Scope = None
) -> Taken | None:
    """One that another job has or waits for, as `told` to who sees the hosts in *scope*."""
    found = locks.wanted(conn, locks.names_for(wanted.names, host_ids)) if wanted.names else None
    return found and told(conn, {0: found}, scope)[0]


def told(conn: Connection, found: Mapping[int, Taken], scope: jobs.Scope) -> dict[int, Taken]:
    """*found* for somebody who sees the hosts in *scope*: not whose the jobs are that they may not see."""
    seen = jobs.seen(conn, {one.job_id for one in found.values()}, scope)
    return {key: one if one.job_id in seen else replace(one, user="") for key, one in found.items()}


def refuse_if(found: Taken | None, wanted: WantedLocks) -> None:
    """Refuse what would not wait.

    Raises:
        Locked: *found* is in the way.
    """
    if found is None or wanted.mode != "refuse":
        return
    raise Locked(found.sentence, **{"lock": "", "host": ""} | values_of(found))


def warning(found: Taken) -> Mapping[str, str]:
    """What to say before such a job is submitted."""
    known = {name: value for name, value in values_of(found).items() if value is not None}
    values = {name: str(value) for name, value in known.items() if name != "since"}
    return {"code": code_of(found), "text": found.sentence, **values}


def code_of(found: Taken) -> str:
    """What a program tests: what is locked, and whether it is held or only waited for."""
    what = "lock" if found.host_id is None else "host"
    how = "waited" if found.since is None else "held" if found.host_id is None else "locked"
    return f"{what}_{how}"


def values_of(found: Taken) -> dict[str, Any]:
    """What the sentence about it is made of; ``since`` is in unix seconds.

    ``user`` and ``since`` are None of a job that may not be seen, ``since`` also of one that only waits.
    """
    what = {"lock": found.name} if found.host_id is None else {"host": found.host}
    since = found.since if found.user else None
    return {**what, "job": found.job_id, "user": found.user or None, "since": since}
