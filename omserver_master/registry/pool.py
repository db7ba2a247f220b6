"""Warm child processes: there is always one that has started already.

    with ChildPool(2) as pool, pool.child() as child:
        child.send({"do": "start", ...})
        while not child.done:
            for message in child.receive(timeout=10):
                ...

Nobody waits for somebody else's child: *size* is how many are kept ready, not how many there may be. After
many were at work at once, as many are kept for a while.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from .process import Child, ChildLimits, Message

#: Seconds until a process is tried again that could not be started.
_RETRY = 1.0
#: Seconds for which as many are kept as were at work at once: to start one costs more than a small job.
_REMEMBERED = 60.0

__all__ = ["Child", "ChildLimits", "ChildPool", "Message"]


class ChildPool:
    """Keeps *size* children ready. Thread-safe."""

    def __init__(self, size: int = 2, limits: ChildLimits | None = None) -> None:
        self.limits = limits or ChildLimits()
        self._size = size
        self._change = threading.Condition()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._wanted = 0
        #: How many were at work at once, and when that was.
        self._most, self._most_at = 0, 0.0
        self._failure = ""
        self._closed = False
        # Children die with the thread that started them, so one thread starts all and lives as long as we do.
        self._keeper = threading.Thread(target=self._keep, name="omserver-children", daemon=True)
        self._keeper.start()
        atexit.register(self.close)

    @contextmanager
    def child(self) -> Iterator[Child]:
        """A child for one job. Leaving the block before it is done kills it.

        Raises:
            RuntimeError: the pool is closed.
        """
        child = self._take()
        try:
            yield child
        finally:
            self._give_back(child)

    def describe(self, path: Path, source: bytes) -> Message:
        """What the module at *path*, whose content is *source*, says of itself.

        The message is ``described``, ``broken`` (with line and reason) or ``crashed`` (with a reason).
        """
        sha256 = hashlib.sha256(source).hexdigest()
        order = {"do": "describe", "path": str(path), "sha256": sha256}
        with self.child() as child:
            encoded = base64.b64encode(source).decode()
            return child.ask({**order, "source": encoded}, self.limits.describe_seconds)

    def close(self) -> None:
        """Kill all children, those at work too, and start no more."""
        with self._change:
            self._closed = True
            idle, self._idle = self._idle, []
            self._change.notify_all()
        atexit.unregister(self.close)
        for child in idle:
            child.kill()
        with self._change:
            for child in self._busy:
                child.stop()
            self._change.wait_for(lambda: not self._busy, timeout=5)
        self._keeper.join()

    def __enter__(self) -> ChildPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> Child:
        """A child that is alive, as soon as there is one.

        Raises:
            RuntimeError: the pool is closed.
            OSError: no process could be started in time.
        """
        with self._change:
            self._wanted += 1
            self._change.notify_all()
            try:
                return self._wait_for_child()
            finally:
                self._wanted -= 1

    def _wait_for_child(self) -> Child:
        while True:
            self._change.wait_for(lambda: self._idle or self._closed, self.limits.start_seconds)
            if self._closed:
                raise RuntimeError("The pool of children is closed.")
            if not self._idle:
                raise OSError(f"No process for module code could be started: {self._failure}")
            child = self._idle.pop()  # the one that worked last: most of what it needs is still in caches
            if child.alive:
                self._busy.add(child)
                if len(self._busy) >= self._recently_busy():
                    self._most, self._most_at = len(self._busy), time.monotonic()
                return child
            child.kill()

    def _give_back(self, child: Child) -> None:
        if not (child.done and child.reusable and child.jobs < self.limits.jobs and self._keep_idle(child)):
            child.kill()
        with self._change:
            self._busy.discard(child)
            self._change.notify_all()

    def _keep_idle(self, child: Child, place: int | None = None) -> bool:
        with self._change:
            keep = not self._closed and len(self._idle) <= self._enough()
            if keep:
                self._idle.insert(len(self._idle) if place is None else place, child)
            return keep

    def _enough(self) -> int:
        """So many wait at most, and one more: the one that is started when all others work."""
        return max(self._size, self._wanted, self._recently_busy())

    def _recently_busy(self) -> int:
        return self._most if time.monotonic() - self._most_at < _REMEMBERED else 0

    def _keep(self) -> None:
        """Start a child whenever fewer are ready than are kept or wanted; end those that are too many."""
        while True:
            with self._change:
                short = self._change.wait_for(self._is_short, _REMEMBERED)
                if self._closed:
                    return
                spare = [] if short else self._take_spare()
            for child in spare:
                child.kill()
            if not short:
                continue
            # In front: the others need no time to start.
            fresh = self._start()
            if fresh is not None and not self._keep_idle(fresh, 0):
                fresh.kill()
            with self._change:
                self._change.notify_all()

    def _take_spare(self) -> list[Child]:
        """Those that have waited longest of more than are kept."""
        more = 1 if self._recently_busy() else 0
        number = max(0, len(self._idle) - self._enough() - more)
        spare, self._idle = self._idle[:number], self._idle[number:]
        return spare

    def _start(self) -> Child | None:
        try:
            return Child(self.limits)
        except OSError as error:
            with self._change:
                self._failure = str(error)
                self._change.wait_for(lambda: self._closed, _RETRY)
            return None

    def _is_short(self) -> bool:
        # One is kept ready even when all of them work; those that come back are then enough.
        return self._closed or len(self._idle) < max(self._wanted, self._size - len(self._busy), 1)
