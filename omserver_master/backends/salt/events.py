"""The stream of a Salt master's events, and what in it counts as a minion's return."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..base import ConnectionDown

#: Where the Salt master hands out its events, in its folder of sockets.
EVENT_SOCKET = "master_event_pub.ipc"
#: Seconds without an event after which `Subscription.events` gives its reader a turn.
_BEAT = 0.5
#: Bytes that are read at once; an event holds the whole command of its job, about 14 kB.
_CHUNK = 1 << 16
#: Between the tag of an event and what it holds.
_END = b"\n\n"


def is_return(content: Any, minion: str) -> bool:
    """Whether the master made this event from the return of that very minion.

    Any minion may send an event with any tag; the master then notes the true sender.
    """
    return (
        isinstance(content, Mapping)
        and content.get("id") == minion
        and content.get("cmd", "_return") == "_return"
        and "return" in content
    )


class Subscription:
    """The event stream of one Salt master, from now on.

    Salt's own reader turns an event loop for every 4 kB and unpacks all that comes, which takes 2 ms of CPU a
    job in every worker; this one takes what is under way at once, and unpacks what somebody waits for. The
    stream is msgpack maps whose ``body`` is the tag, an empty line and the event (``salt/transport/frame.py``
    and ``SaltEvent.unpack``); for ``ipc_mode: tcp`` it comes from a port of loopback.
    """

    def __init__(self, salt: Any, options: Mapping[str, Any]) -> None:
        self._msgpack = salt.utils.msgpack.msgpack
        self._frames = self._msgpack.Unpacker(raw=True)
        family, address = _door(options)
        self._socket = socket.socket(family)
        try:
            self._socket.settimeout(_BEAT)
            self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise ConnectionDown(f"The Salt master's event bus does not answer: {error}.") from error

    def events(self) -> Iterator[tuple[str, bytes]]:
        """The tag of each event and what `content` reads; ``("", b"")`` after half a second without any.

        Raises:
            ConnectionDown: the stream is lost.
        """
        while True:
            try:
                chunk = self._socket.recv(_CHUNK)
            except TimeoutError:
                yield "", b""
                continue
            except OSError as error:
                raise ConnectionDown(f"The stream of events was lost: {error}.") from error
            if not chunk:
                raise ConnectionDown("The stream of events was closed.")
            self._frames.feed(chunk)
            for frame in self._frames:
                if not isinstance(frame, dict) or not isinstance(frame.get(b"body"), bytes):
                    raise ConnectionDown("The Salt master's events are not in the form that is known.")
                body: bytes = frame[b"body"]
                yield body.partition(_END)[0].decode("utf-8", "replace"), body

    def content(self, body: bytes) -> Any:
        """What an event holds; None if it can't be read."""
        try:
            return self._msgpack.unpackb(body.partition(_END)[2], unicode_errors="replace")
        except Exception:  # noqa: BLE001 -- whatever it is, it is not what we wait for
            return None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _door(options: Mapping[str, Any]) -> tuple[int, Any]:
    """The family and the address of the socket where the master hands out its events."""
    if options["ipc_mode"] != "tcp":
        return socket.AF_UNIX, str(Path(options["sock_dir"]) / EVENT_SOCKET)
    if options["ipv6"]:
        return socket.AF_INET6, ("::1", int(options["tcp_master_pub_port"]))
    return socket.AF_INET, ("127.0.0.1", int(options["tcp_master_pub_port"]))
