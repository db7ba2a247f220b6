"""What module files say of themselves: asked once for each content, in the background, and remembered.

A file whose code hangs costs nobody more than the time that they are ready to wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow

from .pool import Message

#: So many files are described at once.
AT_ONCE = 4
#: Seconds until a broken file is asked again although it is the same: what it needs may be there by then.
BROKEN_FOR = 5.0
#: The same for a file whose code took longer than `SLOW` seconds: asking it again would take as long.
SLOW_FOR = 300.0
SLOW = 1.0

#: A module's id and the hash of its source.
Key = tuple[str, str]


class Descriptions:
    """Remembers one message (``described``, ``broken``, ``crashed``) for each key. Thread-safe."""

    def __init__(self) -> None:
        self._futures: dict[Key, Future[Message]] = {}
        self._good_until: dict[Key, float] = {}
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def begin(self, key: Key, ask: Callable[[], Message]) -> Future[Message]:
        """The message for *key*, there or to come; *ask* is called in a thread of its own if nobody has."""
        with self._lock:
            known = self._futures.get(key)
            if known is not None and time.monotonic() < self._good_until.get(key, float("inf")):
                return known
            future: Future[Message] = Future()
            self._futures[key] = future
            self._good_until.pop(key, None)
        threading.Thread(target=self._ask, args=(key, ask, future), name="describes", daemon=True).start()
        return future

    def _ask(self, key: Key, ask: Callable[[], Message], future: Future[Message]) -> None:
        with self._places:
            began = time.monotonic()
            try:
                message = ask()
            except Exception as error:  # noqa: BLE001 -- no process to be had: who waits must hear it
                message = {"say": "crashed", "line": None, "reason": f"It could not be looked at: {error}"}
            took = time.monotonic() - began
        if message["say"] != "described":
            with self._lock:
                self._good_until[key] = time.monotonic() + (SLOW_FOR if took > SLOW else BROKEN_FOR)
        future.set_result(message)


def within(future: Future[Message], seconds: float) -> Message | None:
    """The message, or None if it is not there after *seconds*."""
    try:
        return future.result(max(0.0, seconds))
    except TooSlow:
        return None
