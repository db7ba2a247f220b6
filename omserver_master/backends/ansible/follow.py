"""Reads the spool of a run while it runs, and gives each host's answer to the flight that waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ...contract.enginework import Playbook
from ...contract.work import Answer
from ..base import Flight, Target, no_output
from .folder import JobFolder
from .host import NO_PYTHON, read
from .reasons import refused, unreachable
from .telling import Telling

log = logging.getLogger(__name__)

#: Seconds between two looks at the spool.
LOOK_EVERY = 0.01
#: Seconds without any record, after which looks become rarer.
BUSY = 2.0
#: Seconds that a run may take to begin.
BEGIN = 120.0
#: The same, for a run that another worker should have had started.
BEGIN_AGAIN = 5.0
#: Seconds that a cancel may take; after it has ended a run it asks the hosts, and notes the end then.
CANCEL = 20.0
#: Seconds between the start of a run and its first note.
CLAIMED = 2.0
_CALLED_OFF = "The job was cancelled first."
_LOST = "The connection to the host was lost while the work ran there."


class Follower:
    """One flight and the spool that its answers come from; a thread of its own reads until all is said.

    *alive* says why the run can no longer be started, or ""; *learned* hears which hosts have a Python that
    Ansible can use.
    """

    def __init__(
        self,
        flight: Flight,
        hosts: Mapping[str, Target],
        folder: JobFolder,
        alive: Callable[[], str],
        learned: Callable[[str, bool], None],
        patience: float = BEGIN,
    ) -> None:
        self.flight = flight
        self.folder = folder
        self.closed = threading.Event()
        self._hosts = hosts
        self._alive = alive
        self._learned = learned
        self._patience = patience
        self._begun = False
        self._claimed_since = 0.0
        self._cut_since = 0.0
        self._never = False
        self._started: set[str] = set()
        self._error = ""
        self._ended = False
        self._status = ""
        self._telling = Telling(flight.work) if isinstance(flight.work, Playbook) else None
        self._handlers: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "begin": self._on_begin,
            "start": self._on_start,
            "answer": self._on_answer,
            "task": self._on_task,
            "stats": self._on_stats,
            "error": self._on_error,
            "end": self._on_end,
        }
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def never_began(self) -> bool:
        """Whether the run has not begun, and now cannot any more."""
        if not self._begun and not self._never:
            with suppress(FileNotFoundError):
                self._never = self.folder.claim()
        return self._never

    @property
    def started(self) -> frozenset[str]:
        """Hosts that Ansible began to speak to, by their names in the inventory."""
        return frozenset(self._started)

    def _follow(self) -> None:
        try:
            self._read_until_said()
        except OSError as error:
            log.warning("%s: %s", self.flight.handle, error)
            self._give_up("The folder of this run is gone, or can't be read: what became of it is lost.")

    def _read_until_said(self) -> None:
        reader = self.folder.reader()
        began = last = time.monotonic()
        while not self.closed.is_set() and self.flight.missing:
            # Looked at before reading: what a run noted before it ended is read, too.
            runs = self.folder.runs
            try:
                records = reader.read()
            except FileNotFoundError:
                records = []
                if self._begun or not self.folder.path.is_dir():
                    raise
            for record in records:
                last = time.monotonic()
                self._hear(record)
            if reader.damaged:
                self._give_up("The file with the results of this run is damaged.")
            elif self._ended or (self._begun and not runs and not records and not self._is_cancelled()):
                self.folder.check()
                self._conclude()
            elif not self._begun and not self._may_begin(began):
                return
            else:
                quiet = time.monotonic() - last
                self.closed.wait(LOOK_EVERY if quiet < BUSY else 5 * LOOK_EVERY)
                continue
            return

    def _may_begin(self, since: float) -> bool:
        """Whether the run can still begin; if not, that it never will is made sure of, and answered."""
        if self.folder.claimed:
            return self._was_claimed()
        trouble = self._alive()
        if not trouble and time.monotonic() - since < self._patience:
            return True
        if not self.folder.claim():
            return True
        reason = trouble or f"Ansible did not begin within {self._patience:g} s."
        for host in self.flight.missing:
            self.flight.answer(host.id, no_output("not_started", reason))
        return False

    def _was_claimed(self) -> bool:
        """Whether the run, which somebody has started, may still note that it has begun."""
        self._claimed_since = self._claimed_since or time.monotonic()
        if self.folder.runs or time.monotonic() - self._claimed_since < CLAIMED:
            return True
        self._give_up("Ansible ended before it noted anything.")
        return False

    def _is_cancelled(self) -> bool:
        """Whether the run was ended by a cancel which is still asking the hosts."""
        self._cut_since = self._cut_since or time.monotonic()
        return time.monotonic() - self._cut_since < CANCEL and self.folder.called_off_whole()

    def _hear(self, record: Mapping[str, Any]) -> None:
        handler = self._handlers.get(record["event"])
        host = record.get("host")
        if host is not None and host not in self._hosts:
            log.info("%s: Ansible spoke of %r, which was not asked for", self.flight.handle, host)
        elif handler is not None:
            handler(record)

    def _on_begin(self, record: Mapping[str, Any]) -> None:
        self._begun = True

    def _on_start(self, record: Mapping[str, Any]) -> None:
        self._started.add(record["host"])
        self.flight.reached(self._hosts[record["host"]].id, "Ansible had begun to speak to it")

    def _on_answer(self, record: Mapping[str, Any]) -> None:
        self.flight.answer(self._hosts[record["host"]].id, self._answer(record))

    def _answer(self, record: Mapping[str, Any]) -> Answer:
        how, text = record["how"], record["text"]
        if how == "unreachable":
            return no_output("unreachable", unreachable(text))
        if how in ("refused", "cannot"):
            return no_output("not_started", refused(text, record.get("rc")))
        if how == "called_off":
            return no_output("not_started", _CALLED_OFF)
        if how == "lost":
            return no_output("unknown", _LOST)
        answer, python = read(text, self.flight.work, self.flight.handle)
        if python is not None:
            self._learned(record["host"], python)
        if python is False and not answer.reason:
            return Answer(**{**vars(answer), "reason": NO_PYTHON})
        return answer

    def _on_task(self, record: Mapping[str, Any]) -> None:
        host = self._hosts[record["host"]]
        if self._telling is not None:
            self._started.add(record["host"])
            self._telling.hear(record)
        elif record["status"] == "unreachable":
            self.flight.answer(host.id, no_output("unreachable", unreachable(record["text"])))
        else:
            self.flight.answer(host.id, no_output("not_started", refused(record["text"], None)))

    def _on_stats(self, record: Mapping[str, Any]) -> None:
        if self._telling is not None:
            self._telling.complete = True
            for name, counts in record["hosts"].items():
                if name in self._hosts:
                    self.flight.answer(self._hosts[name].id, self._telling.answer(name, counts))

    def _on_error(self, record: Mapping[str, Any]) -> None:
        self._error = record["text"]

    def _on_end(self, record: Mapping[str, Any]) -> None:
        self._ended = True
        self._status = record["status"]
        self._error = self._error or record["error"]

    def _conclude(self) -> None:
        """The run is over: say of each host that nothing was said of what that means."""
        missing = {host.id for host in self.flight.missing}
        for name, host in self._hosts.items():
            if host.id in missing:
                self.flight.answer(host.id, self._unheard(name))

    def _unheard(self, name: str) -> Answer:
        timed_out, cancelled = self._status == "timeout", self._status == "canceled"
        if name in self._started:
            if timed_out:
                return no_output("timed_out", "Ansible was stopped because the time was over.")
            if cancelled:
                return no_output("unknown", "The job was cancelled while it ran on this host.")
            return no_output("unknown", "Ansible ended without saying what became of this host.")
        if cancelled:
            return no_output("not_started", _CALLED_OFF)
        if self._error:
            return no_output("not_started", f"Ansible: {unreachable(self._error)}")
        if self._telling is not None and self._telling.complete:
            return no_output("not_started", "The playbook has no play for this host.")
        if timed_out:
            return no_output("not_started", "The time was over before it was this host's turn.")
        return no_output("unknown", "Ansible ended without saying what became of this host.")

    def _give_up(self, reason: str) -> None:
        for host in self.flight.missing:
            self.flight.answer(host.id, no_output("unknown", reason))
