"""RPyC's frames with limits: how long they may take, how large they may be, what they may hold.

RPyC as it comes waits for ever, allocates whatever a peer announces, inflates whatever it is sent, and builds
any value that can be written down. These subclasses say no in time; both sides of the wire use them.
"""

from __future__ import annotations

import math
import socket
import ssl
import zlib
from time import monotonic
from typing import Any

from rpyc.core import brine
from rpyc.core.channel import Channel
from rpyc.core.stream import SocketStream
from rpyc.lib import Timeout

#: The largest frame, in bytes, before and after inflating it.
MAX_FRAME = 8 * 1024 * 1024
#: The most values one frame may hold. A call needs some twenty; this also bounds how deep tuples are nested.
MOST_VALUES = 64

_CONSTANTS = {brine.TAG_NONE, brine.TAG_TRUE, brine.TAG_FALSE, brine.TAG_EMPTY_STR, brine.TAG_EMPTY_TUPLE}
_CONSTANTS |= set(brine.IMM_INTS_LOADER)
_FIXED = {brine.TAG_STR1: 1, brine.TAG_STR2: 2, brine.TAG_STR3: 3, brine.TAG_STR4: 4, brine.TAG_FLOAT: 8}
_COUNTED = {brine.TAG_STR_L1: 1, brine.TAG_STR_L4: 4, brine.TAG_INT_L1: 1}
_TUPLES = {brine.TAG_TUP1: 1, brine.TAG_TUP2: 2, brine.TAG_TUP3: 3, brine.TAG_TUP4: 4, brine.TAG_UNICODE: 1}
_COUNTED_TUPLES = {brine.TAG_TUP_L1: 1, brine.TAG_TUP_L4: 4}


class Broken(EOFError):
    """The peer broke a rule or took too long; the connection is over. RPyC takes any EOFError for the end."""


class DeadlineStream(SocketStream):  # type: ignore[misc]  # rpyc has no types
    """A socket on which nothing waits for ever.

    ``frame`` and ``idle`` are seconds; ``until`` is the moment, on the monotonic clock, at which reading ends
    whatever the peer does.
    """

    __slots__ = ("_frame_until", "frame", "idle", "until")

    def __init__(self, sock: socket.socket, frame: float, idle: float = math.inf) -> None:
        super().__init__(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.frame = frame
        self.idle = idle
        self.until = math.inf
        self._frame_until = math.inf

    def poll(self, timeout: Any) -> bool:
        """Whether there is something to read within *timeout* seconds (None: as long as it may be idle).

        Raises:
            Broken: it was idle for too long.
        """
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return True
        asked = Timeout(timeout).timeleft()
        patience = max(0.0, min(self.idle, self.until - monotonic()))
        if super().poll(_finite(patience if asked is None else min(asked, patience))):
            return True
        if asked is None or patience <= asked:
            raise self._broken("it was silent for too long")
        return False

    def begin_frame(self) -> None:
        """From here on, the next frame must arrive whole within ``frame`` seconds."""
        self._frame_until = monotonic() + self.frame

    def read(self, count: int) -> bytes:
        """Read exactly *count* bytes.

        Raises:
            Broken: they did not come in time, or the connection ended.
        """
        received = bytearray()
        while len(received) < count:
            received += self._receive(min(self.MAX_IO_CHUNK, count - len(received)))
        return bytes(received)

    def write(self, data: bytes) -> None:
        """Write all of *data*.

        Raises:
            Broken: the peer did not take it in time, or the connection ended.
        """
        until = monotonic() + self.frame
        rest = memoryview(data)
        while rest:
            try:
                self.sock.settimeout(self._left(until))
                rest = rest[self.sock.send(rest[: self.MAX_IO_CHUNK]) :]
            except OSError as error:
                raise self._broken(f"it could not be written to: {error}") from error

    def _receive(self, most: int) -> bytes:
        try:
            self.sock.settimeout(self._left(min(self._frame_until, self.until)))
            chunk: bytes = self.sock.recv(most)
        except OSError as error:
            raise self._broken(f"it could not be read from: {error}") from error
        if not chunk:
            raise self._broken("the peer closed it")
        return chunk

    def _left(self, until: float) -> float | None:
        left = until - monotonic()
        if left <= 0:
            raise self._broken("a frame took too long")
        return _finite(left)

    def _broken(self, reason: str) -> Broken:
        self.close()
        return Broken(f"The connection ended: {reason}.")


class LimitedChannel(Channel):  # type: ignore[misc]  # rpyc has no types
    """Frames of at most ``limit`` bytes, inflated or not. It sends none compressed."""

    __slots__ = ("limit",)

    def __init__(self, stream: DeadlineStream, limit: int = MAX_FRAME) -> None:
        super().__init__(stream, compress=False)
        self.limit = limit

    def recv(self) -> bytes:
        """The next frame's payload.

        Raises:
            Broken: it is too large, late, or not a frame.
        """
        self.stream.begin_frame()
        length, compressed = self.FRAME_HEADER.unpack(self.stream.read(self.FRAME_HEADER.size))
        if not 0 < length <= self.limit or compressed not in (0, 1):
            raise self._broken(f"a frame of {length} bytes")
        payload = self.stream.read(length + len(self.FLUSHER))[: -len(self.FLUSHER)]
        return self._inflate(payload) if compressed else bytes(payload)

    def send(self, data: bytes) -> None:
        """Send *data* as one frame, in one write."""
        self.stream.write(self.FRAME_HEADER.pack(len(data), 0) + data + self.FLUSHER)

    def _inflate(self, payload: bytes) -> bytes:
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(payload, self.limit)
        except zlib.error as error:
            raise self._broken("a frame that cannot be inflated") from error
        if not inflater.eof or not inflated:
            raise self._broken("a frame that inflates beyond the limit")
        return inflated

    def _broken(self, reason: str) -> Broken:
        self.stream.close()
        return Broken(f"The peer sent {reason}.")


def load(payload: bytes) -> Any:
    """Read the value behind the first byte of *payload*, after a look at its shape.

    Raises:
        Broken: it holds more, deeper or other values than a call needs.
    """
    try:
        _check_shape(payload)
        return brine.load(payload[1:])
    except (ValueError, TypeError, AttributeError) as error:
        raise Broken(f"The peer sent what is not a call: {error}") from error


def _check_shape(payload: bytes) -> None:
    position, open_tuples = 1, [1]
    for _ in range(MOST_VALUES):
        open_tuples[-1] -= 1
        position, inside = _step(payload, position)
        open_tuples.append(inside)
        while open_tuples and not open_tuples[-1]:
            open_tuples.pop()
        if not open_tuples:
            break
    if open_tuples or position != len(payload):
        raise ValueError("too many values, or cut off")


def _step(payload: bytes, position: int) -> tuple[int, int]:
    """Pass one value: where the next begins, and how many values are inside this one."""
    tag = payload[position : position + 1]
    position += 1
    if tag in _CONSTANTS:
        return position, 0
    if tag in _FIXED:
        return position + _FIXED[tag], 0
    if tag in _COUNTED:
        return position + _COUNTED[tag] + _number(payload, position, _COUNTED[tag]), 0
    if tag in _TUPLES:
        return position, _TUPLES[tag]
    if tag in _COUNTED_TUPLES:
        return position + _COUNTED_TUPLES[tag], _number(payload, position, _COUNTED_TUPLES[tag])
    raise ValueError("a value of a kind that no call needs")


def _number(payload: bytes, position: int, size: int) -> int:
    return int.from_bytes(payload[position : position + size], "big")


def _finite(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds
