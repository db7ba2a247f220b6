"""Asks after minions that have not answered: does the job still run, is the minion there at all?"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from ..contract.work import Answer
from .base import ConnectionDown, Flight, Target, no_output
from .saltbus import MaybeSent, SaltBus
from .saltjob import new_jid, read_return

log = logging.getLogger(__name__)

#: Seconds after which, counted from the dispatch, the silent are asked; then each time the last gap again.
ASK_AT = (2.0, 5.0, 8.0)
ASK_EVERY = 10.0
#: Seconds without an answer to anything, after which a minion counts as not there.
GIVE_UP_AFTER = 11.0
#: The same, when the master was away meanwhile: minions take a while to find it again and to send anew.
GIVE_UP_AFTER_RESTART = 45.0
#: How often a minion may say that it runs no such job, before we stop waiting for its return.
NOT_RUNNING_LIMIT = 3


class Watch:
    """Looks after one flight. Used by the thread that reads the flight; hears from the bus's thread."""

    def __init__(self, bus: SaltBus, flight: Flight, hosts: Mapping[str, Target]) -> None:
        self.bus = bus
        self.flight = flight
        self.hosts = hosts
        self.doubt = ""
        self._started = time.monotonic()
        self._asked = 0
        self._questions: list[str] = []
        self._alive: set[str] = set()
        self._not_running: dict[str, int] = {}
        self._generation = bus.generation
        self._master_is_down = False
        self._patience = GIVE_UP_AFTER

    def look(self) -> None:
        """Ask when it is time to, and give up on those who never answer."""
        if self._generation != self.bus.generation:
            self._generation = self.bus.generation
            self._patience = GIVE_UP_AFTER_RESTART
            self._read_cache()
        if time.monotonic() >= self._started + self._next_question():
            self._ask()
        self._give_up()

    def verdict(self, host: Target) -> Answer:
        """The answer for a host that is silent at the deadline."""
        if self._master_is_down:
            return no_output("unknown", "The Salt master went down while the job ran.")
        if self.doubt:
            return no_output("unknown", self.doubt)
        if (host.remote_id or host.name) in self._alive or not self._asked:
            return no_output("unknown", "Nothing came back by the deadline, nor a sign that the job runs.")
        return no_output("unreachable", "The minion did not answer, nor did it say that it runs the job.")

    def close(self) -> None:
        """Stop hearing the answers to our questions."""
        for jid in self._questions:
            self.bus.forget(jid)

    def _next_question(self) -> float:
        if self._asked < len(ASK_AT):
            return ASK_AT[self._asked]
        return ASK_AT[-1] + ASK_EVERY * (self._asked - len(ASK_AT) + 1)

    def _missing(self) -> dict[str, Target]:
        missing = {host.id for host in self.flight.missing}
        return {minion: host for minion, host in self.hosts.items() if host.id in missing}

    def _ask(self) -> None:
        self._asked += 1
        jid = new_jid()
        try:
            self.bus.listen(jid, self._hear)
            self._questions.append(jid)
            self.bus.publish(jid, "saltutil.find_job", {}, [self.flight.handle], sorted(self._missing()))
            self._master_is_down = False
        except (ConnectionDown, MaybeSent) as down:
            log.info("%s: can't ask after the silent hosts: %s", self.flight.handle, down)
            self._master_is_down = True
            # What was not asked proves nothing: start counting anew.
            self._started, self._asked, self._patience = time.monotonic(), 0, GIVE_UP_AFTER_RESTART

    def _hear(self, minion: str, content: Mapping[str, Any]) -> None:
        host = self.hosts.get(minion)
        if host is None:
            return
        self._alive.add(minion)
        if content["return"]:
            self._not_running.pop(minion, None)
            self.flight.reached(host.id, "the minion says that the job runs")
        else:
            self._not_running[minion] = self._not_running.get(minion, 0) + 1

    def _give_up(self) -> None:
        if self._master_is_down:
            return
        silent_for = time.monotonic() - self._started
        impatient = silent_for >= self._patience
        for minion, host in self._missing().items():
            if self._not_running.get(minion, 0) >= NOT_RUNNING_LIMIT:
                if impatient or self._patience == GIVE_UP_AFTER:
                    self._lost(host)
            elif minion not in self._alive and impatient:
                seconds = f"{silent_for:.0f}"
                reason = f"The minion {minion} does not answer the Salt master (asked for {seconds} s)."
                self.flight.answer(host.id, no_output("unreachable", reason))

    def _lost(self, host: Target) -> None:
        self._read_cache()
        if self.flight.evidence(host.id):
            reason = "The minion began the job, runs it no more, and its return did not arrive."
        else:
            reason = "The minion is there, does not run the job, and nothing came back from it."
        self.flight.answer(host.id, no_output("unknown", reason))

    def _read_cache(self) -> None:
        """Take returns that came while nobody listened."""
        missing = self._missing()
        try:
            cached = self.bus.cached(self.flight.handle, missing) or {}
        except ConnectionDown as down:
            log.info("%s: %s", self.flight.handle, down)
            return
        for minion, said in cached.items():
            self.flight.answer(missing[minion].id, read_return(said, self.flight.work))
