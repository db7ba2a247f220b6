"""What OMServer has said to its callers, kept by the campaign: the word that it must keep."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

#: Module ids by what a repeat means; those of two steps are 10 higher.
MODULES = {"read_only": "3001", "idempotent": "3002", "once": "3003"}
STEPS = ("first", "second")


def module_of(repeat: str, steps: int = 1) -> str:
    """The module that says a token in so many *steps*."""
    return str(int(MODULES[repeat]) + (10 if steps == 2 else 0))


@dataclass
class Asked:
    """One job that somebody wanted, and all that was said about it. Times are unix seconds."""

    token: str
    """Said by every host that works for this job; also the idempotency key."""
    repeat: str
    steps: int
    hosts: tuple[str, ...]
    seconds: float
    options: dict[str, Any] = field(default_factory=dict)
    job: int | None = None
    acknowledged: float | None = None
    answered_jobs: set[int] = field(default_factory=set)
    """Every job id that an answer named; more than one is a doubled job."""
    cancelled: float | None = None
    """When a wish to cancel was acknowledged."""
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The ends of hosts as they were shown to a watching caller, by host."""
    seen_end: str = ""
    """The job's final state as it was shown."""

    @property
    def module(self) -> str:
        return module_of(self.repeat, self.steps)

    @property
    def params(self) -> dict[str, Any]:
        return {"token": self.token, "seconds": self.seconds}


class Acks:
    """All jobs that were asked for. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, Asked] = {}

    def add(self, asked: Asked) -> Asked:
        """Remember a wish before it is sent."""
        with self._lock:
            self._asked[asked.token] = asked
        return asked

    def submitted(self, asked: Asked, answer: dict[str, Any]) -> None:
        """The job was acknowledged."""
        with self._lock:
            asked.answered_jobs.add(answer["job"]["id"])
            if asked.job is None:
                asked.job, asked.acknowledged = answer["job"]["id"], time.time()

    def told_to_cancel(self, asked: Asked) -> None:
        """The wish to cancel was acknowledged."""
        with self._lock:
            asked.cancelled = asked.cancelled or time.time()

    def saw(self, asked: Asked, news: dict[str, Any], ends: frozenset[str]) -> None:
        """A watching caller was shown *news*; *ends* are the final states of hosts."""
        with self._lock:
            for row in news["results"]:
                if row["state"] in ends:
                    asked.seen[row["host"]] = {name: row[name] for name in ("state", "rc")}
            if news["job"]["finished"] is not None:
                asked.seen_end = news["job"]["state"]

    def all(self) -> list[Asked]:
        """Everything that was asked for so far."""
        with self._lock:
            return list(self._asked.values())
