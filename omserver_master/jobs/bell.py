"""The doorbell between a master and its workers: it says which job has changed, never what.

The database stays the only memory. A lost ring costs at most the listener's own polling interval.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

#: Rung instead of a job's id: there may be a new job, or any job may have changed.
ANY = 0
_ID = struct.Struct("!Q")


class Bell:
    """One end of a pair of sockets that keep messages apart; ringing never blocks."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)

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
        """Wait for a ring; the jobs of all rings that are there. Empty after *seconds* without any."""
        try:
            ready, _, _ = select.select([self._end], [], [], seconds)
        except (OSError, ValueError):
            ready = []
            time.sleep(min(seconds, 0.2))
        heard = self._drain() if ready else set()
        if ready and not heard:
            time.sleep(min(seconds, 0.2))  # the other end is gone
        return heard

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


class Ring(Protocol):
    """Wakes the workers: there is a new job, or there is news for one."""

    def __call__(self, job: int = ANY) -> None: ...


class Changes:
    """Wakes the calls of one process that wait for a job when a worker has stored something about it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[int, set[threading.Event]] = defaultdict(set)

    def announce(self, changed: Collection[int] = (ANY,)) -> None:
        """The jobs *changed* have changed; `ANY`: every job may have."""
        with self._lock:
            jobs = list(self._waiting) if ANY in changed else self._waiting.keys() & set(changed)
            for job in jobs:
                for event in self._waiting[job]:
                    event.set()

    @contextmanager
    def of(self, job: int) -> Iterator[threading.Event]:
        """An event that is set whenever *job* has changed since; clear it before you look."""
        event = threading.Event()
        with self._lock:
            self._waiting[job].add(event)
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[job].discard(event)
                if not self._waiting[job]:
                    del self._waiting[job]
