"""The child's end of its channel to the worker: one JSON object a line, over a socket of its own."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]

_CHUNK = 1 << 20
#: Characters of one message of work, about; more hosts go into the next.
_MESSAGE = 8 << 20
#: Seconds that a message may wait for the next one, to go with it: the worker is woken once for both.
_GATHER = 0.02


class Closed(Exception):
    """The worker closed the channel; there is nobody left to talk to."""


class Stopped(Exception):
    """The worker wants the module to end."""


class Channel:
    """Hears orders and says messages, which are sent before it waits for orders at the latest."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._rest = b""
        self._orders: list[Message] = []
        self._heard = 0
        self._unsent, self._unsent_since = b"", 0.0
        self._pid = os.getpid()

    def say(self, message: Message) -> None:
        """Send one message, with those that follow at once.

        Raises:
            Closed: the worker is gone.
        """
        self._check_process()
        now = time.monotonic()
        if not self._unsent:
            self._unsent_since = now
        self._unsent += json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
        if now - self._unsent_since > _GATHER or len(self._unsent) > _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Send what was said.

        Raises:
            Closed: the worker is gone.
        """
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, b""
        try:
            self._socket.sendall(unsent)
        except OSError as error:
            raise Closed from error

    def hear(self, most: int | None = None) -> list[Message]:
        """Wait for an order; answer it and all that are there by then, at most *most*.

        Before it waits it says so, with the number of orders heard: the worker then knows that nothing is
        being computed here.

        Raises:
            Closed: the worker is gone.
        """
        self._check_process()
        self._read(wait=False)
        if not self._orders:
            self.say({"say": "waiting", "heard": self._heard})
        self.flush()
        while not self._orders:
            self._read(wait=True)
        taken = self._orders[:most]
        del self._orders[:most]
        self._heard += len(taken)
        return taken

    def _read(self, *, wait: bool) -> None:
        while select.select([self._socket], [], [], None if wait else 0)[0]:
            try:
                chunk = self._socket.recv(_CHUNK)
            except OSError as error:
                raise Closed from error
            if not chunk:
                raise Closed
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._orders += map(json.loads, lines)
            wait = False

    def _check_process(self) -> None:
        # Module code that forks without an exec ends up here in two processes; only the first may speak.
        if os.getpid() != self._pid:
            os._exit(0)


def batches(items: list[Message]) -> Iterator[list[Message]]:
    """*items* in as few messages as their size allows."""
    batch: list[Message] = []
    size = 0
    for item in items:
        length = len(json.dumps(item["work"]))
        if batch and size + length > _MESSAGE:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch
