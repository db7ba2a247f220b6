"""Guessing passwords is slow: so many failures a minute for one account, and for one address."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Final

from omserver_client.errors import TooMany

from ..store.names import name_key

#: Seconds that a failure counts.
WINDOW: Final = 60.0
PER_ACCOUNT: Final = 5
#: More than for one account: behind one address, such as the console's, sit many people.
PER_ADDRESS: Final = 30
#: Names and addresses remembered; when that many fail within the window, nobody new gets a try.
MOST: Final = 20_000


class LoginThrottle:
    """Counts tries before they are made, so that many at once do not slip through. Any thread may use it.

    *clock* answers seconds that never go back.
    """

    def __init__(
        self,
        per_account: int = PER_ACCOUNT,
        per_address: int = PER_ADDRESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = {"account": per_account, "address": per_address}
        self._clock = clock
        self._tries: dict[tuple[str, str], deque[float]] = {}
        self._lock = Lock()

    def enter(self, account: str, address: str) -> None:
        """Count a try; it stays counted as a failure unless `succeeded` is told.

        Raises:
            TooMany: there were too many; ``retry_after`` says in how many seconds the next one is heard.
        """
        keys = self._keys(account, address)
        with self._lock:
            now = self._clock()
            for key in keys:
                self._refuse_if_full(key, now)
            for key in keys:
                self._tries.setdefault(key, deque()).append(now)

    def succeeded(self, account: str, address: str) -> None:
        """The last try was good: the account starts anew, and the address has one failure less."""
        of_account, of_address = self._keys(account, address)
        with self._lock:
            self._tries.pop(of_account, None)
            tries = self._tries.get(of_address)
            if tries:
                tries.pop()

    def _refuse_if_full(self, key: tuple[str, str], now: float) -> None:
        tries = self._tries.get(key)
        if tries is None:
            self._make_room(now)
            return
        while tries and tries[0] <= now - WINDOW:
            tries.popleft()
        if len(tries) >= self._limits[key[0]]:
            _refuse(tries[0] + WINDOW - now)

    def _make_room(self, now: float) -> None:
        if len(self._tries) < MOST:
            return
        over = [key for key, tries in self._tries.items() if not tries or tries[-1] <= now - WINDOW]
        for key in over:
            del self._tries[key]
        if len(self._tries) >= MOST:
            _refuse(WINDOW)

    @staticmethod
    def _keys(account: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
        return ("account", name_key(account)[:255]), ("address", address)


def _refuse(seconds: float) -> None:
    wait = max(1, round(seconds))
    raise TooMany(f"Too many failed logins; try again in {wait} seconds.", retry_after=wait)
