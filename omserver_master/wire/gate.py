"""Who may be connected: counts connections, and turns away what is over a cap."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Caps:
    """How many connections there may be at once.

    A connection is *unproved* until the master has opened a first sealed message of it; from then on it is
    counted for its key, no longer for its address.
    """

    total: int = 256
    unproved: int = 32
    unproved_per_address: int = 16
    per_key: int = 64


class Gate:
    """Counts the connections of one server. Safe to use from several threads."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._lock = threading.Lock()
        self._total = 0
        self._unproved: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def enter(self, address: str) -> Place | None:
        """A place for a new connection from *address*, or None if there is none left."""
        with self._lock:
            full = (
                self._total >= self._caps.total
                or self._unproved.total() >= self._caps.unproved
                or self._unproved[address] >= self._caps.unproved_per_address
            )
            if full:
                return None
            self._total += 1
            self._unproved[address] += 1
            return Place(self, address)

    def counts(self) -> tuple[int, int]:
        """How many connections there are, and how many of them are unproved."""
        with self._lock:
            return self._total, self._unproved.total()

    def _prove(self, address: str, kid: str) -> bool:
        with self._lock:
            if self._keys[kid] >= self._caps.per_key:
                return False
            self._keys[kid] += 1
            _take_one(self._unproved, address)
            return True

    def _leave(self, address: str, kid: str | None) -> None:
        with self._lock:
            self._total -= 1
            if kid is None:
                _take_one(self._unproved, address)
            else:
                _take_one(self._keys, kid)


class Place:
    """One connection's place at the gate. Used by that connection's thread only."""

    def __init__(self, gate: Gate, address: str) -> None:
        self._gate = gate
        self._kid: str | None = None
        self._left = False
        #: The peer's IP address.
        self.address = address

    def prove(self, kid: str) -> bool:
        """Count this connection for its key *kid*. False: the key has all the connections it may have."""
        if self._kid is None and self._gate._prove(self.address, kid):
            self._kid = kid
        return self._kid == kid

    def leave(self) -> None:
        """Give the place back; a second time does nothing."""
        if not self._left:
            self._left = True
            self._gate._leave(self.address, self._kid)


def _take_one(counter: Counter[str], name: str) -> None:
    """Names that reach 0 are forgotten, so that the counter does not grow with every address ever seen."""
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
