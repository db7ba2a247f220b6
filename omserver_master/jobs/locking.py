"""The locks of a job before it is submitted: which it wants, and what to say where another job has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from omserver_client.errors import Locked
from omserver_master.store import locks
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


def taken(conn: Connection, wanted: WantedLocks, host_ids: Sequence[int]) -> Taken | None:
    """A lock among them that another job has now, or waits for."""
    return locks.wanted(conn, locks.names_for(wanted.names, host_ids)) if wanted.names else None


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
    values = {name: str(value) for name, value in values_of(found).items() if name != "since"}
    return {"code": code_of(found), "text": found.sentence, **values}


def code_of(found: Taken) -> str:
    """What a program tests: what is locked, and whether it is held or only waited for."""
    what = "lock" if found.host_id is None else "host"
    how = "waited" if found.since is None else "held" if found.host_id is None else "locked"
    return f"{what}_{how}"


def values_of(found: Taken) -> dict[str, Any]:
    """What the sentence about it is made of; ``since`` is in unix seconds."""
    what = {"lock": found.name} if found.host_id is None else {"host": found.host}
    return {**what, "job": found.job_id, "user": found.user, "since": found.since}
