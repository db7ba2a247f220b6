"""Following a job to its end: each host as it answers, then one line about all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from ..client import ENDED, POLL
from ..errors import NotReached
from .show import counts_text, state_text, state_word
from .visible import visible_line

#: How long a master that went away is waited for before we give up following (the job goes on), in seconds.
PATIENCE = 60.0
#: The code of a reason that is none to wait.
STOPPED = "stopped"
_ENDED_HOST = frozenset(
    {"ok", "failed", "unreachable", "timed_out", "cancelled", "skipped", "not_started", "unknown"}
)
_WIDTH_OF_STATE = len("not started")

Json = Mapping[str, Any]


class Follower(Protocol):
    """What following needs of a client."""

    def events(self, job: int, since: int = 0, wait: float = 0) -> Json: ...


def follow(client: Follower, job: int, seen: Callable[[Json], None], note: Callable[[Json], None]) -> Json:
    """Wait until *job* has ended and answer it as it then is.

    *seen* is called for every host result that changed, *note* with the job each time there is news of it.

    Raises:
        NotReached: the master was away for longer than `PATIENCE`.
    """
    since = 0
    while True:
        news = _patient_events(client, job, since)
        for result in news["results"]:
            seen(result)
        note(news["job"])
        since = news["event"]
        if news["job"]["state"] in ENDED and since >= news["job"]["event"]:
            final: Json = news["job"]
            return final


def _patient_events(client: Follower, job: int, since: int) -> Json:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return client.events(job, since, POLL)
        except NotReached:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


class Questions:
    """Says how a job's question is answered, once for each; *say* takes the line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._asked = ""

    def job(self, job: Json) -> None:
        """The job has news."""
        # Who pauses a job is named; its own question has nobody's name.
        asks = job["state"] == "paused" and job.get("pause_asked") and not job.get("paused_by")
        if asks and job["reason"] != self._asked:
            self._asked = job["reason"]
            what = visible_line(self._asked).removesuffix(".")
            self._say(f"Job {job['id']} {what[0].lower()}{what[1:]}: omctl job resume {job['id']}")


class Progress:
    """Prints hosts as they end; on a terminal, a last line says how far the job is."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._status = out.status("", spinner="dots") if out.is_terminal else None
        self._why = ""

    def result(self, result: Json) -> None:
        """One host has news."""
        if result["state"] in _ENDED_HOST:
            self._out.print(result_line(result))

    def job(self, job: Json) -> None:
        """The job has news: what it waits for, or why it stopped, is a line whenever that changes."""
        why = why_line(job) if job.get("why") else ""
        if why and why != self._why:
            waits = " waits" if job["why"].get("code") != STOPPED else ""
            self._out.print(f"Job {job['id']}{waits}: {why}")
        self._why = why
        if self._status is not None:
            self._status.update(Text(job_line(job)))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the last line meanwhile."""
        if self._status is None:
            yield
            return
        with self._status:
            yield


def result_line(result: Json) -> Text:
    """One host's result in one line: state, host, seconds, and its first line of output or the reason."""
    line = state_text(result["state"], _WIDTH_OF_STATE + 2)
    seconds = "" if result["seconds"] is None else f"{result['seconds']:.1f} s"
    line.append(f"{visible_line(result['host'])}  {seconds}  ".ljust(28))
    said = result["first_line"] if result["state"] == "ok" else result["reason"] or result["first_line"]
    line.append(visible_line(said or ""))
    if result["late"]:
        line.append("  (came late)")
    return line


def why_line(job: Json) -> str:
    """Why a job waits, or how it ended; ``""`` if there is nothing to say."""
    why = job.get("why")
    return visible_line(why["text"] if why else job["reason"])


def job_line(job: Json) -> str:
    """A job in one line: its number, state, counts and why it waits or how it ended."""
    counts = counts_text(job["counts"])
    said = why_line(job)
    reason = f": {said}" if said else ""
    dry = " (dry run)" if job.get("dry_run") else ""
    return f"Job {job['id']}{dry} {state_word(job['state'])}, {counts}{reason}"
