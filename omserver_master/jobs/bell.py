"""The doorbell between a master and its workers: it says which job has changed, never what.

The database stays the only memory. A lost ring costs at most the listener's own polling interval.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

#: Rung instead of a job's id: there may be a new job, or any job may have changed.
ANY = 0
#: Added to a job's id in a ring: the job is over. Who waits for its end has nothing to look for before.
OVER = 1 << 62
#: Rung by a worker that was rung for a new job and has no room; then to all others, which leave it at that.
PASS_ON = 1 << 61
_ID = struct.Struct("!Q")


class Bell:
    """One end of a pair of sockets that keep messages apart; ringing never blocks."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self._ended = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    @classmethod
    def pair(cls) -> tuple[Bell, Bell]:
        """Two ends that ring each other."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(left), cls(right)

    @classmethod
    def from_fd(cls, fd: int) -> Bell:
        """The end that a parent process handed down."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self._end.fileno()

    def ring(self, job: int = ANY) -> None:
        """Wake the other end. With a full buffer it is busy and looks anyway; who is gone hears nothing."""
        try:
            self._end.send(_ID.pack(job))
        except (BlockingIOError, ConnectionError, FileNotFoundError):
            return
        except OSError:  # closed while the process stops
            return

    def wait(self, seconds: float) -> set[int]:
        """Wait for a ring; the jobs of all rings that are there, perhaps with `OVER`.

        Empty after *seconds* without any.
        """
        try:
            ends: list[Any] = [self._end, self._ended]
            ready, _, _ = select.select(ends, [], [], seconds)
        except (OSError, ValueError):
            ready = []
            time.sleep(min(seconds, 0.2))
        if self._ended in ready:
            os.eventfd_read(self._ended)
        if self._end not in ready:
            return set()
        heard = self._drain()
        if not heard:
            time.sleep(min(seconds, 0.2))  # the other end is gone
        return heard

    def end_wait(self) -> None:
        """End the wait that is under way, or else the next one. From any thread."""
        os.eventfd_write(self._ended, 1)

    def _drain(self) -> set[int]:
        heard: set[int] = set()
        try:
            while len(message := self._end.recv(_ID.size)) == _ID.size:
                heard.update(_ID.unpack(message))
        except OSError:
            pass
        return heard

    def close(self) -> None:
        self._end.close()
        os.close(self._ended)


class Ring(Protocol):
    """Wakes the workers: there is a new job, or there is news for one."""

    def __call__(self, job: int = ANY) -> None: ...


class Changes:
    """Wakes the calls of one process that wait for a job when a worker has stored something about it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[int, dict[threading.Event, bool]] = defaultdict(dict)

    def announce(self, changed: Collection[int] = (ANY,)) -> None:
        """The jobs *changed* have changed, those with `OVER` for the last time; `ANY`: every job may have."""
        with self._lock:
            if ANY in changed:
                changed = [job | OVER for job in self._waiting]
            for ring in changed:
                for event, end in self._waiting.get(ring & ~OVER, {}).items():
                    if ring & OVER or not end:
                        event.set()

    @contextmanager
    def of(self, job: int, *, end: bool = False) -> Iterator[threading.Event]:
        """An event that is set whenever *job* has changed since, or at its *end*: clear it, then look."""
        event = threading.Event()
        with self._lock:
            self._waiting[job][event] = end
        try:
            yield event
        finally:
            with self._lock:
                del self._waiting[job][event]
                if not self._waiting[job]:
                    del self._waiting[job]
