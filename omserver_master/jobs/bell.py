"""The doorbell between a master and its workers: it says that something changed, never what.

The database stays the only memory. A lost ring costs at most the listener's own polling interval.
"""

from __future__ import annotations

import select
import socket
import threading
import time


class Bell:
    """One end of a pair of datagram sockets; ringing never blocks."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Bell, Bell]:
        """Two ends that ring each other."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        return cls(left), cls(right)

    @classmethod
    def from_fd(cls, fd: int) -> Bell:
        """The end that a parent process handed down."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self._end.fileno()

    def ring(self) -> None:
        """Wake the other end. A full buffer means it has enough to wake it; a gone listener hears nothing."""
        try:
            self._end.send(b"!")
        except (BlockingIOError, ConnectionError, FileNotFoundError):
            return
        except OSError:  # closed while the process stops
            return

    def wait(self, seconds: float) -> bool:
        """Wait for a ring; all rings that are there count as one. ``False`` after *seconds* without any."""
        try:
            ready, _, _ = select.select([self._end], [], [], seconds)
        except (OSError, ValueError):
            time.sleep(min(seconds, 0.2))
            return False
        if ready:
            self._drain()
        return bool(ready)

    def _drain(self) -> None:
        try:
            while self._end.recv(64):
                pass
        except OSError:
            return

    def close(self) -> None:
        self._end.close()


class Changes:
    """Lets many waiting calls of one process wake at once when a worker has stored something."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._number = 0

    @property
    def number(self) -> int:
        """How often something changed so far."""
        return self._number

    def announce(self) -> None:
        with self._condition:
            self._number += 1
            self._condition.notify_all()

    def wait_beyond(self, number: int, seconds: float) -> int:
        """Wait until something changed after *number*, at most *seconds*; answers the number then."""
        with self._condition:
            self._condition.wait_for(lambda: self._number > number, timeout=max(0.0, seconds))
            return self._number
