"""Looks after one dispatch: what is believed of what comes back, and what became of who is silent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ...contract.work import Answer
from ..base import ConnectionDown, Flight, Target, no_output
from ..onhost import most_bytes, unpack
from .bus import MaybeSent, SaltBus
from .job import is_empty, new_jid
from .proof import LOOK
from .signed import SignedShell

log = logging.getLogger(__name__)

#: Seconds after which, counted from the dispatch, the silent are asked; then each time the last gap again.
ASK_AT = (2.0, 5.0, 8.0)
ASK_EVERY = 10.0
#: A minion that has not answered a question is asked nothing else for so many seconds: it may be busy.
ASK_AGAIN_AFTER = 5.0
#: The first questions are not for minions that have answered something in the last so many seconds: they are
#: there, have much to do, and would only have more of it.
KIND_QUESTIONS, JUST_HEARD = 2, 5.0
#: With more silent minions than that, the first question is left out: so many answer one by one.
MANY = 20
#: Seconds without an answer to anything, after which a minion counts as not there.
GIVE_UP_AFTER = 11.0
#: The same, while others of many still answer: so many at once take their turns, and a small master its time.
GIVE_UP_IN_A_CROWD = 45.0
#: The same, when the master was away meanwhile: minions take a while to find it again and to send anew.
GIVE_UP_AFTER_RESTART = 45.0
#: How often a minion may say that it runs no such job, before we stop waiting for its return.
NOT_RUNNING_LIMIT = 3
#: Seconds that a host gets to look what runs there.
LOOK_SECONDS = 20
#: What a host says to `LOOK`.
RUNNING, NOT_RUNNING = "om1-job running", "om1-job none"
#: How many answers that had to make their way against forged ones are remembered.
_REMEMBERED = 256
#: How many answers in one minion's name, none of them believed, are kept to be looked at again.
_KEPT = 4
_WHAT_TO_DO = 'See "What a host must have" in docs/backends/salt.md.'


class Memory:
    """True answers to jobs of which the job cache keeps a forged one, because that came first."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Answer] = {}

    def keep(self, jid: str, minion: str, answer: Answer) -> None:
        """Remember it, and forget the oldest if they get many."""
        self._answers[jid, minion] = answer
        while len(self._answers) > _REMEMBERED:
            self._answers.pop(next(iter(self._answers)), None)

    def find(self, jid: str, minion: str) -> Answer | None:
        """The answer of *minion*, if it is remembered."""
        return self._answers.get((jid, minion))


class Watch:
    """Looks after one flight. Used by the thread that reads the flight; hears from the bus's thread."""

    def __init__(
        self, bus: SaltBus, shell: SignedShell, flight: Flight, hosts: Mapping[str, Target], memory: Memory
    ) -> None:
        self.bus = bus
        self.shell = shell
        self.flight = flight
        self.hosts = hosts
        self.memory = memory
        self.doubt = ""
        self.over = False
        #: Set each time that somebody has answered.
        self.answered = threading.Event()
        self._started = time.monotonic()
        self._gate = threading.Lock()
        self._sent: dict[str, float] = {}
        self._called_off: set[str] = set()
        self._done: set[str] = set()
        self._asked = 0
        self._asked_at: dict[str, float] = {}
        self._spared: set[str] = set()
        self._questions: list[str] = []
        self._alive: set[str] = set()
        self._not_running: dict[str, int] = {}
        self._unbelieved: dict[str, list[Any]] = {}
        self._problems: dict[str, str] = {}
        self._keys_learned: set[str] = set()
        self._generation = bus.generation
        self._master_is_down = False
        self._patience = GIVE_UP_AFTER
        self._heard = float("-inf")

    def sent(self, minions: Iterable[str]) -> list[str]:
        """The work is on its way to *minions*, but for those that it was called off for, who are left out.

        From now on they are asked after.
        """
        now = time.monotonic()
        with self._gate:
            sent = [minion for minion in minions if minion not in self._called_off]
            self._sent.update(dict.fromkeys(sent, now))
        return sent

    def call_off(self, minions: Iterable[str]) -> set[str]:
        """See to it that the work is sent to none of *minions* any more; those to which it never was."""
        with self._gate:
            self._called_off |= set(minions)
            return {minion for minion in minions if minion not in self._sent}

    @property
    def at_work(self) -> int:
        """How many minions got the work and have not answered."""
        return len(set(self._silent()) - self._done)

    def hear(self, minion: str, content: Mapping[str, Any]) -> None:
        """A return came in the name of *minion*."""
        host = self.hosts.get(minion)
        if host is None:
            log.warning("%s: minion %r answered and was never asked; dropped", self.flight.handle, minion)
            return
        said = content.get("return")
        if self._take(minion, said):
            return
        if minion in self._called_off and is_empty(said):
            self.flight.answer(host.id, no_output("unknown", "Stopped: the job was cancelled."))
            return
        log.warning(
            "%s: an answer of %s is not believed: %s", self.flight.handle, minion, self._problems[minion]
        )
        kept = self._unbelieved.setdefault(minion, [])
        if len(kept) < _KEPT and len(str(said)) < most_bytes(self.flight.work) + 4000:
            kept.append(said)

    def look(self) -> None:
        """Ask when it is time to, and give up on those who never answer."""
        if self._generation != self.bus.generation:
            self._generation = self.bus.generation
            self._patience = GIVE_UP_AFTER_RESTART
            self._read_cache()
        self._believe_with_new_keys()
        if time.monotonic() >= self._started + self._next_question() and self._silent():
            self._ask()
        self._give_up()

    def verdict(self, host: Target) -> Answer:
        """The answer for a host that is silent at the deadline."""
        minion = host.remote_id or host.name
        if minion not in self._sent:
            return no_output("not_started", "Its turn did not come before the deadline.")
        if minion in self._problems:
            return self._unproved(minion)
        if self._master_is_down:
            return no_output("unknown", "The Salt master went down while the job ran.")
        if self.doubt:
            return no_output("unknown", self.doubt)
        if minion in self._alive or minion in self._spared or not self._asked:
            return no_output("unknown", "Nothing came back by the deadline, nor a sign that the job runs.")
        return no_output("unreachable", "The minion did not answer, nor did it say that it runs the job.")

    def close(self) -> None:
        """Stop hearing the answers to our questions."""
        self.over = True
        for jid in self._questions:
            self.bus.forget(jid)

    def _take(self, minion: str, said: Any) -> bool:
        """Answer with what *minion* said, if it is believed."""
        line, problem = self.shell.believe(self.flight.handle, minion, said)
        remembered = self.memory.find(self.flight.handle, minion)
        if line is None and remembered is None:
            self._problems[minion] = problem
            return False
        if line is None:
            answer = remembered or no_output("unknown", problem)
        elif minion in self._called_off and not line:
            answer = no_output("unknown", "Stopped: the job was cancelled.")
        else:
            answer = unpack(line.encode(), self.flight.work)
            if minion in self._problems:
                self.memory.keep(self.flight.handle, minion, answer)
        self.flight.answer(self.hosts[minion].id, answer)
        self._done.add(minion)
        self._heard = time.monotonic()
        self.answered.set()
        return True

    def _believe_with_new_keys(self) -> None:
        """A minion may have got a new key since we learned the old one."""
        minions = set(self._unbelieved) - self._keys_learned
        if not minions:
            return
        self._keys_learned |= minions
        try:
            self.bus.learn_keys(minions, afresh=True)
        except ConnectionDown as down:
            log.info("%s: can't ask for keys: %s", self.flight.handle, down)
        for minion in minions:
            any(self._take(minion, said) for said in list(self._unbelieved[minion]))

    def _next_question(self) -> float:
        if self._asked < len(ASK_AT):
            return ASK_AT[self._asked]
        return ASK_AT[-1] + ASK_EVERY * (self._asked - len(ASK_AT) + 1)

    def _silent(self) -> dict[str, Target]:
        """Those who got the work and have not answered."""
        missing = {host.id for host in self.flight.missing}
        return {one: self.hosts[one] for one in list(self._sent) if self.hosts[one].id in missing}

    def _ask(self) -> None:
        self._asked += 1
        now = time.monotonic()
        busy = {one for one, since in list(self._asked_at.items()) if now - since < ASK_AGAIN_AFTER}
        if self._asked <= KIND_QUESTIONS:
            self._spared = {one for one in self.hosts if now - self.shell.heard(one) < JUST_HEARD}
            busy |= self._spared
        minions = sorted(set(self._silent()) - busy)
        if not minions or (self._asked == 1 and len(minions) > MANY):
            return
        self._asked_at.update(dict.fromkeys(minions, now))
        self._spared -= set(minions)
        jid = new_jid()
        keywords = self.shell.keywords(jid, LOOK, self.flight.handle + "\n", LOOK_SECONDS)

        def hear(minion: str, content: Mapping[str, Any]) -> None:
            self._hear_look(minion, self.shell.believe(jid, minion, content["return"])[0])

        try:
            self.bus.listen(jid, hear)
            self._questions.append(jid)
            self.bus.publish(jid, self.shell.FUNCTION, keywords, [], minions)
            self._master_is_down = False
        except (ConnectionDown, MaybeSent) as down:
            log.info("%s: can't ask after the silent hosts: %s", self.flight.handle, down)
            self._master_is_down = True
            # What was not asked proves nothing: start counting anew.
            self._started, self._asked, self._patience = time.monotonic(), 0, GIVE_UP_AFTER_RESTART

    def _hear_look(self, minion: str, line: str | None) -> None:
        host = self.hosts.get(minion)
        if host is None or line not in (RUNNING, NOT_RUNNING):
            return
        self._alive.add(minion)
        self._heard = time.monotonic()
        self._asked_at.pop(minion, None)
        if line == RUNNING:
            self._not_running.pop(minion, None)
            self.flight.reached(host.id, "the minion says that the job runs")
        else:
            self._not_running[minion] = self._not_running.get(minion, 0) + 1

    def _give_up(self) -> None:
        if self._master_is_down:
            return
        now = time.monotonic()
        patience = self._patience
        if len(self._sent) > MANY and now - self._heard < GIVE_UP_AFTER:
            patience = max(patience, GIVE_UP_IN_A_CROWD)
        for minion, host in self._silent().items():
            # Who answers something else is busy, and not away.
            silent_for = now - max(self._started, self._sent[minion], self.shell.heard(minion))
            impatient = silent_for >= patience
            if self._not_running.get(minion, 0) >= NOT_RUNNING_LIMIT:
                if impatient or self._patience == GIVE_UP_AFTER:
                    self._lost(minion, host)
            elif minion not in self._alive and impatient:
                seconds = f"{silent_for:.0f}"
                reason = f"The minion {minion} does not answer the Salt master (asked for {seconds} s)."
                silent = no_output("unreachable", reason)
                self.flight.answer(host.id, self._unproved(minion) if minion in self._problems else silent)

    def _unproved(self, minion: str) -> Answer:
        reason = f"What came in the name of {minion} proves nothing: {self._problems[minion]} {_WHAT_TO_DO}"
        return no_output("unknown", reason)

    def _lost(self, minion: str, host: Target) -> None:
        self._read_cache()
        if minion in self._problems:
            self.flight.answer(host.id, self._unproved(minion))
            return
        if self.flight.evidence(host.id):
            reason = "The minion began the job, runs it no more, and its return did not arrive."
        else:
            reason = "The minion is there, does not run the job, and nothing came back from it."
        self.flight.answer(host.id, no_output("unknown", reason))

    def _read_cache(self) -> None:
        """Take returns that came while nobody listened."""
        missing = self._silent()
        try:
            cached = self.bus.cached(self.flight.handle, missing) or {}
        except ConnectionDown as down:
            log.info("%s: %s", self.flight.handle, down)
            return
        for minion, said in cached.items():
            self.hear(minion, {"return": said})
