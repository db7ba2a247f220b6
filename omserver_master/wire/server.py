"""The listening side: accepts connections whatever happens, and gives each a thread and its limits."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Self

from rpyc.utils.server import ThreadedServer

from omserver_client.errors import OMServerError
from omserver_client.frames import MAX_FRAME, DeadlineStream

from .bridge import Bridge, ClearService, OldClient, begins_in_clear
from .doors import Doors
from .gate import Caps, Gate, Place
from .refusals import AUDITED, Refusals
from .rpyc3 import FIRST_BYTE, FirstFrame, Responder
from .service import MasterService
from .session import KeyRing, Session

log = logging.getLogger(__name__)

#: Errors of accept that mean: this machine has run out of something.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
#: How long to wait, in seconds, before accepting again after any other error.
_BREATH = 0.05
#: How long one accept waits, in seconds.
_PATIENCE = 0.5


class CannotListen(OMServerError, OSError):
    """The master cannot listen there."""


@dataclass(frozen=True)
class Limits:
    """How long, in seconds, and how large, in bytes, things may be on one connection.

    *Unproved* is a connection before its first sealed message was opened.
    """

    #: From connecting to the end of the first frame, TLS included.
    handshake: float = 5.0
    #: From connecting to the first message that could be opened.
    unproved: float = 60.0
    #: One frame, in either direction.
    frame: float = 10.0
    #: Between the answer to a request and the next request.
    idle: float = 300.0
    max_frame: int = MAX_FRAME
    max_frame_unproved: int = 1024 * 1024


class HardenedServer(ThreadedServer):  # type: ignore[misc]  # rpyc has no types
    """The master's RPyC server on *host*:*port* (0: any free one, see ``port``), over TLS if *tls* is given.

    *audited* is how many refused messages of one address are audited per minute. *bridge* serves programs of
    2014 from the addresses that it lists; they may speak in clear where everybody else has to speak TLS.

        with HardenedServer("127.0.0.1", 11511, doors, ring) as server:
            ...

    Raises:
        CannotListen: the port is taken, or the address is not one of this machine.
    """

    def __init__(
        self,
        host: str,
        port: int,
        doors: Doors,
        ring: KeyRing,
        *,
        caps: Caps | None = None,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        audited: int = AUDITED,
        bridge: Bridge | None = None,
    ) -> None:
        self._doors = doors
        self._refusals = Refusals(doors.audit_refusal, audited)
        self._ring = ring
        self._limits = limits or Limits()
        self._tls = tls
        self._bridge = bridge
        self._guests: dict[threading.Thread, socket.socket] = {}
        self._acceptor: threading.Thread | None = None
        self.gate = Gate(caps or Caps())
        try:
            super().__init__(
                MasterService,
                hostname=host,
                port=port,
                ipv6=":" in host,
                registrar=False,
                logger=log,
                listener_timeout=_PATIENCE,
            )
            self._listen()
        except OSError as error:
            self._close_listener()
            raise CannotListen(
                f"The master cannot listen at {host}:{port}: {error.strerror or error}."
            ) from error
        self._reserve: int | None = None
        self._open_reserve()

    def __enter__(self) -> Self:
        self.start_in_background()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_in_background(self) -> None:
        """Accept connections in a thread of its own; ``start`` does it in the caller's."""
        self._acceptor = threading.Thread(target=self.start, name=f"accept-{self.port}", daemon=True)
        self._acceptor.start()

    def start(self) -> None:
        """Accept connections until `close` is called."""
        while self.active:
            self.accept()

    def close(self, timeout: float = 5.0) -> None:
        """Stop listening, hang up on everybody, and wait up to *timeout* seconds for requests at work."""
        until = time.monotonic() + timeout
        self.active = False
        self._close_listener()
        guests = dict(self._guests)
        for sock in guests.values():
            _shut(sock)
        for thread in [self._acceptor, *guests]:
            if thread and thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
        self._close_reserve()

    def accept(self) -> None:
        """Accept one connection, or wait half a second for one. Never raises."""
        try:
            sock, address = self.listener.accept()
        except TimeoutError:
            return
        except OSError as error:
            self._survive(error)
            return
        place = self.gate.enter(address[0])
        if place is None:
            log.warning("turned %s away: too many connections", address[0])
            sock.close()
            return
        self._begin(sock, place)

    def _begin(self, sock: socket.socket, place: Place) -> None:
        thread = threading.Thread(target=self._serve, args=(sock, place), name="connection", daemon=True)
        self._guests[thread] = sock
        try:
            thread.start()
        except RuntimeError:
            log.error("no thread could be started for a connection from %s", place.address)
            self._end(thread, place)

    def _serve(self, sock: socket.socket, place: Place) -> None:
        """The life of one connection, in its own thread."""
        try:
            self._converse(sock, place)
        except (EOFError, OSError) as error:
            log.debug("connection from %s ended: %s", place.address, error)
        except Exception:  # one connection's failure is logged, and ends that connection only
            log.exception("connection from %s failed", place.address)
        finally:
            self._end(threading.current_thread(), place)

    def _converse(self, sock: socket.socket, place: Place) -> None:
        begun = time.monotonic()
        limits = self._limits
        sock.settimeout(limits.handshake)
        bridge = self._bridge if self._bridge and self._bridge.serves(place.address) else None
        old_in_clear = bridge is not None and self._tls is not None and begins_in_clear(sock)
        if self._tls and not old_in_clear:
            sock = self._guests[threading.current_thread()] = self._tls.wrap_socket(sock, server_side=True)
        stream = DeadlineStream(sock, limits.frame, limits.idle)
        stream.until = begun + limits.handshake
        channel = FirstFrame(stream, limits.max_frame_unproved)
        old = OldClient(bridge, self._doors, place, self._refusals, limits.max_frame) if bridge else None
        if bridge and old and channel.peek()[0] == FIRST_BYTE:
            Responder(channel, old, bridge, begun + limits.unproved).serve()
            return
        service = ClearService(old) if old and old_in_clear else self._service(place, old)
        service._connect(channel, {"unproved_until": begun + limits.unproved}).serve_all()

    def _service(self, place: Place, old: OldClient | None) -> MasterService:
        return MasterService(
            self._doors,
            Session(self._ring, self._limits.max_frame),
            place,
            self._refusals,
            private=self._tls is not None or _is_loopback(place.address),
            max_frame=self._limits.max_frame,
            old=old,
        )

    def _end(self, thread: threading.Thread, place: Place) -> None:
        sock = self._guests.pop(thread)
        _shut(sock)
        sock.close()
        place.leave()

    def _survive(self, error: OSError) -> None:
        """Whatever accept met, go on."""
        if not self.active:
            return
        log.warning("accepting a connection failed: %s", error)
        if error.errno in _EXHAUSTED:
            self._hang_up_on_the_waiting()
        else:
            time.sleep(_BREATH)

    def _hang_up_on_the_waiting(self) -> None:
        """Out of descriptors: use the one kept aside to tell those who wait, instead of letting them wait."""
        self._close_reserve()
        self.listener.settimeout(0)
        with contextlib.suppress(OSError):
            for _ in range(self.backlog):
                self.listener.accept()[0].close()
        self._open_reserve()
        with contextlib.suppress(OSError):  # it may have been closed meanwhile
            self.listener.settimeout(_PATIENCE)

    def _open_reserve(self) -> None:
        """Keep one descriptor aside, so that `_hang_up_on_the_waiting` has one when there are no others."""
        try:
            self._reserve = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            self._reserve = None

    def _close_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _close_listener(self) -> None:
        _shut(self.listener)
        self.listener.close()


def _shut(sock: socket.socket) -> None:
    """Wake whoever waits on *sock*, without taking its descriptor, or TLS, away under them."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)
