"""Many conversations, few threads: each conversation is a chain of steps, taken when they are due."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds after which a thread without work ends.
IDLE = 5.0
#: The longest that a step may wait for something at the other end, in seconds.
LINGER = 4.0

#: Takes the seconds for which it may linger; gives those until the next step, or None at the end.
Step = Callable[[float], float | None]


class Rounds:
    """Takes steps with *most* threads, which come and go as they are needed."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._due: list[tuple[float, int, Step]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._threads = self._idle = 0
        self._closed = False

    def put(self, step: Step, delay: float = 0.0) -> None:
        """Take *step* in *delay* seconds, and again as often as it asks for it."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + delay, next(self._numbers), step))
            if self._idle < self._waiting() and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name="func", daemon=True).start()
            self._changed.notify()

    def close(self) -> None:
        """Take no more steps."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify_all()

    def _waiting(self) -> int:
        now = time.monotonic()
        return sum(due <= now for due, _, _ in self._due[: self._most])

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            step, linger = taken
            try:
                again = step(linger)
            except Exception:
                log.exception("a conversation with a minion broke")
                again = None
            if again is not None and not self._closed:
                self.put(step, again)

    def _take(self) -> tuple[Step, float] | None:
        """The next step that is due, and how long it may linger; None: this thread may go."""
        idle_since = time.monotonic()
        with self._changed:
            while True:
                now = time.monotonic()
                if self._due and self._due[0][0] <= now:
                    step = heapq.heappop(self._due)[2]
                    return step, self._linger()
                if self._closed or now - idle_since > IDLE:
                    self._threads -= 1
                    return None
                until = min(self._due[0][0] - now if self._due else IDLE, IDLE)
                self._idle += 1
                self._changed.wait(max(0.001, until))
                self._idle -= 1

    def _linger(self) -> float:
        """Some threads always stay free for who comes next."""
        busy = self._threads - self._idle
        return LINGER if busy <= self._most * 3 // 4 and not self._waiting() else 0.0
