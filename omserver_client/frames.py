"""RPyC's frames with limits: how long they may take, how large they may be, what they may hold.

RPyC as it comes waits for ever, allocates whatever a peer announces, inflates whatever it is sent, and builds
any value that can be written down. These subclasses say no in time; both sides of the wire use them.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import struct
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

_KEPT, _BYTES, _COUNTED, _TUPLE, _COUNTED_TUPLE, _TEXT, _FLOAT, _LONG = range(8)
#: What each first byte begins, and how much of it, or in how many bytes that is said. Others are refused.
_KINDS: dict[bytes, tuple[int, Any]] = {
    brine.TAG_NONE: (_KEPT, None),
    brine.TAG_TRUE: (_KEPT, True),
    brine.TAG_FALSE: (_KEPT, False),
    brine.TAG_EMPTY_STR: (_KEPT, b""),
    brine.TAG_EMPTY_TUPLE: (_KEPT, ()),
    **{tag: (_KEPT, number) for tag, number in brine.IMM_INTS_LOADER.items()},
    brine.TAG_STR1: (_BYTES, 1),
    brine.TAG_STR2: (_BYTES, 2),
    brine.TAG_STR3: (_BYTES, 3),
    brine.TAG_STR4: (_BYTES, 4),
    brine.TAG_STR_L1: (_COUNTED, 1),
    brine.TAG_STR_L4: (_COUNTED, 4),
    brine.TAG_TUP1: (_TUPLE, 1),
    brine.TAG_TUP2: (_TUPLE, 2),
    brine.TAG_TUP3: (_TUPLE, 3),
    brine.TAG_TUP4: (_TUPLE, 4),
    brine.TAG_TUP_L1: (_COUNTED_TUPLE, 1),
    brine.TAG_TUP_L4: (_COUNTED_TUPLE, 4),
    brine.TAG_UNICODE: (_TEXT, 0),
    brine.TAG_FLOAT: (_FLOAT, 8),
    brine.TAG_INT_L1: (_LONG, 1),
}
_KIND_OF = [_KINDS.get(bytes((first,))) for first in range(256)]

#: Seconds that a call to the system may wait by itself.
_SOON = 0.25
_TIMEVAL = struct.Struct("@ll")

#: A socket's ways to say: not now.
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_WANTS: dict[type[OSError], int] = {
    ssl.SSLWantReadError: select.POLLIN,
    ssl.SSLWantWriteError: select.POLLOUT,
}


class Broken(EOFError):
    """The peer broke a rule or took too long; the connection is over. RPyC takes any EOFError for the end."""


class DeadlineStream(SocketStream):  # type: ignore[misc]  # rpyc has no types
    """A socket on which nothing waits for ever.

    ``frame`` and ``idle`` are seconds; ``until`` is the moment, on the monotonic clock, at which reading ends
    whatever the peer does.

    What comes soon is waited for by the reading itself, and all that has come is taken at once: each call to
    the system costs more than sealing a message. What takes longer than `_SOON` is waited for by `_ready`.
    """

    __slots__ = ("_ahead", "_frame_until", "_tls", "frame", "idle", "until")

    def __init__(self, sock: socket.socket, frame: float, idle: float = math.inf) -> None:
        super().__init__(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = isinstance(sock, ssl.SSLSocket)
        # Within TLS, Python takes the limit of a blocking socket for a reason to try again.
        sock.setblocking(not self._tls)
        for side in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, side, _TIMEVAL.pack(0, int(_SOON * 1e6)))
        self.frame = frame
        self.idle = idle
        self.until = math.inf
        self._frame_until = math.inf
        #: What has come already and was not asked for yet.
        self._ahead = b""

    def poll(self, timeout: Any) -> bool:
        """Whether there is something to read within *timeout* seconds (None: as long as it may be idle).

        Raises:
            Broken: it was idle for too long, or the connection ended.
        """
        if self._ahead:
            return True
        asked = timeout.timeleft() if isinstance(timeout, Timeout) else timeout
        patience = max(0.0, min(self.idle, self.until - monotonic()))
        if self._fill(patience if asked is None else min(max(0.0, asked), patience)):
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
        if len(self._ahead) < count:
            self._read_on(count)
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    def write(self, data: bytes) -> None:
        """Write all of *data*.

        Raises:
            Broken: the peer did not take it in time, or the connection ended.
        """
        until = monotonic() + self.frame
        rest: bytes | memoryview = data
        while rest:
            try:
                gone = self.sock.send(rest if len(rest) <= self.MAX_IO_CHUNK else rest[: self.MAX_IO_CHUNK])
                if gone == len(rest):
                    return
                rest = memoryview(rest)[gone:]
            except _NOT_YET as not_yet:
                if not self._ready(_WANTS.get(type(not_yet), select.POLLOUT), until - monotonic()):
                    raise self._broken("a frame took too long") from None
            except OSError as error:
                raise self._broken(f"it could not be written to: {error}") from error

    def _read_on(self, count: int) -> None:
        """Have *count* bytes ready, or more."""
        until = min(self._frame_until, self.until)
        received = bytearray(self._ahead)
        while len(received) < count:
            self._ahead = b""
            if not self._fill(until - monotonic()):
                raise self._broken("a frame took too long")
            received += self._ahead
        self._ahead = bytes(received)

    def _fill(self, seconds: float) -> bool:
        """Take what comes within *seconds*, if anything does."""
        until = monotonic() + seconds
        flags = 0 if self._tls or seconds >= _SOON else socket.MSG_DONTWAIT
        while True:
            try:
                self._ahead = self.sock.recv(self.MAX_IO_CHUNK, flags)
                break
            except _NOT_YET as not_yet:
                if seconds <= 0:
                    return False
                if not self._ready(_WANTS.get(type(not_yet), select.POLLIN), until - monotonic()):
                    return False
            except OSError as error:
                raise self._broken(f"it could not be read from: {error}") from error
        if not self._ahead:
            raise self._broken("the peer closed it")
        return True

    def _ready(self, event: int, seconds: float) -> bool:
        """Whether that happens within *seconds*; an ended connection is ready for everything."""
        poller = select.poll()
        poller.register(self.fileno(), event)
        return bool(poller.poll(None if math.isinf(seconds) else max(0, math.ceil(seconds * 1000))))

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
    """Read the value behind the first byte of *payload*, building nothing that a call does not need.

    Raises:
        Broken: it holds more, deeper or other values than a call needs.
    """
    reader = _Reader(payload)
    try:
        value = reader.value()
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise Broken(f"The peer sent what is not a call: {error}") from error
    if reader.position != len(payload):
        raise Broken("The peer sent what is not a call: there is more behind it.")
    return value


class _Reader:
    """Reads RPyC's notation, brine, in one go; each value counts against `MOST_VALUES` before it is built."""

    __slots__ = ("left", "payload", "position")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.position = 1
        self.left = MOST_VALUES

    def value(self) -> Any:
        """The next value."""
        known = _KIND_OF[self.payload[self.position]]
        if known is None:
            raise ValueError("a value of a kind that no call needs")
        kind, size = known
        self.position += 1
        self.left -= 1
        if kind == _KEPT:
            return size
        if kind == _TUPLE:
            return self._tuple(size)
        if kind == _COUNTED:
            return self._take(self._number(size))
        if kind == _BYTES:
            return self._take(size)
        if kind == _TEXT:
            return self._text()
        return self._seldom(kind, size)

    def _seldom(self, kind: int, size: int) -> Any:
        if kind == _COUNTED_TUPLE:
            return self._tuple(self._number(size))
        if kind == _FLOAT:
            return struct.unpack("!d", self._take(size))[0]
        return int(self._take(self._number(size)))

    def _tuple(self, number: int) -> tuple[Any, ...]:
        if number > self.left:
            raise ValueError("too many values")
        return tuple([self.value() for _ in range(number)])

    def _text(self) -> str:
        encoded = self.value()
        if type(encoded) is not bytes:
            raise ValueError("a text that is not made of bytes")
        return encoded.decode()

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _take(self, count: int) -> bytes:
        start = self.position
        self.position = end = start + count
        if end > len(self.payload):
            raise ValueError("it is cut off")
        return self.payload[start:end]
