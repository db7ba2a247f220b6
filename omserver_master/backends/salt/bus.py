"""What `SaltBackend` needs of a Salt master: publishing under our own job ids, and hearing all returns.

There are two ways to have it: `LocalSaltBus` (local.py) on the master's own machine, and `HttpSaltBus`
(http.py) through salt-api.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..base import ConnectionDown
from .events import is_return

log = logging.getLogger(__name__)

#: Called with (minion id, what the event holds) for every return of a job.
Listener = Callable[[str, Mapping[str, Any]], None]

#: Seconds until a lost subscription is made again.
_PAUSE = 0.3


class MaybeSent(Exception):
    """The Salt master took the job and did not say what became of it."""


class SaltBus(ABC):
    """Publishes and listens, for all jobs of one connection. Safe to use from several threads."""

    #: Seconds that the first subscription may take.
    PATIENCE = 2.0

    def __init__(self) -> None:
        self._listeners: dict[str, Listener] = {}
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._listening = threading.Event()
        self._closing = threading.Event()
        #: Rises each time the subscription was lost and made again: returns may have been missed.
        self.generation = 0

    @abstractmethod
    def why_down(self) -> str:
        """Why the Salt master cannot be used just now, in one line; ``""`` when it can. Takes 2 s at most."""

    def just_answered(self) -> bool:
        """Whether the Salt master has done something for us so lately that it need not be asked."""
        return False

    @abstractmethod
    def publish(
        self,
        jid: str,
        function: str,
        keywords: Mapping[str, Any],
        arguments: Sequence[str],
        minions: list[str],
    ) -> set[str]:
        """Send one job to exactly these *minions*; those of them that the master knows.

        Raises:
            ConnectionDown: it was not sent.
            MaybeSent: nobody can tell whether it was.
        """

    @abstractmethod
    def cached(self, jid: str, minions: Iterable[str]) -> dict[str, Any] | None:
        """What *minions* returned for *jid*, if the master's job cache has it; None if it knows no such job.

        Raises:
            ConnectionDown: the job cache cannot be read.
        """

    def surely_kept(self) -> float:
        """Seconds for which the job cache surely knows a job that was sent; 0: it may never have known it."""
        return 0.0

    @abstractmethod
    def learn_keys(self, minions: Iterable[str], afresh: bool = False) -> None:
        """Get to know the public keys of *minions*; *afresh*: also those that are known. May take a while.

        Raises:
            ConnectionDown: the Salt master cannot be asked.
        """

    @abstractmethod
    def key_of(self, minion: str) -> bytes | None:
        """The public key (PEM) that the master accepted for *minion*, if it is known. Waits for nobody."""

    @abstractmethod
    def accepted(self) -> list[str]:
        """The ids of all minions whose key the master has accepted.

        Raises:
            ConnectionDown: the Salt master cannot be asked.
        """

    @abstractmethod
    def _hear(self) -> None:
        """Subscribe, call `_subscribed`, `_hand_out` events until the stream is lost or `_closing` is set."""

    def listen(self, jid: str, listener: Listener) -> None:
        """Call *listener* for every return of job *jid* from now on.

        Raises:
            ConnectionDown: there is no Salt master to listen to.
        """
        self._listeners[jid] = listener
        with self._start_lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._hear_for_ever, name="salt-events", daemon=True)
                self._thread.start()
        if not self._listening.is_set() and (reason := self.why_down()):
            self._listeners.pop(jid, None)
            raise ConnectionDown(reason)
        if not self._listening.wait(self.PATIENCE):
            self._listeners.pop(jid, None)
            raise ConnectionDown(self.why_down() or "The Salt master's event bus does not answer.")

    def forget(self, jid: str) -> None:
        """Nobody asks for the returns of *jid* any more."""
        self._listeners.pop(jid, None)

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(3.0)

    def _subscribed(self) -> None:
        self.generation += 1
        self._listening.set()

    def _hear_for_ever(self) -> None:
        while not self._closing.is_set():
            try:
                self._hear()
            except Exception as error:  # noqa: BLE001 -- Salt's own code; we start over whatever it was
                log.info("lost the Salt master's events: %s", error)
            self._listening.clear()
            self._closing.wait(_PAUSE)

    def _who_waits(self, tag: str) -> tuple[Listener, str] | None:
        """Who waits for the return that *tag* announces, and the minion id that the master put into it."""
        parts = tag.split("/", 4)
        if len(parts) != 5 or parts[:2] != ["salt", "job"] or parts[3] != "ret":
            return None
        listener = self._listeners.get(parts[2])
        return (listener, parts[4]) if listener is not None else None

    def _hand_out(self, tag: str, content: Any) -> None:
        """Give a return to its listener, if somebody waits for it."""
        found = self._who_waits(tag)
        if found is None:
            return
        listener, minion = found
        if not is_return(content, minion):
            log.warning("an event tagged %r is not the return of that minion; dropped", tag)
            return
        listener(minion, content)
