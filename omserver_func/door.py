"""What stands before every service of ours: no more connections than can be served, and none for ever."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from email.message import Message
from typing import Any

from .tls import break_off

log = logging.getLogger(__name__)


class Door(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread per connection, on an IPv4 or an IPv6 address; serves until `shutdown`."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128
    #: Connections at once; who comes when they are all taken is hung up on.
    most_connections = 500
    #: Seconds after which a connection is hung up on, unless `due` says something else.
    first_seconds = 20.0

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        self._due: dict[socket.socket, float] = {}
        self._due_lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse more connections at once than we can serve."""
        return len(self._due) < self.most_connections

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count the connection, then serve it in a thread."""
        self.due(request, self.first_seconds)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Hang up without a word."""
        with self._due_lock:
            self._due.pop(request, None)
        break_off(request)
        request.close()

    def due(self, connection: socket.socket, seconds: float | None) -> None:
        """Hang up in *seconds* unless something else is said before; None: a method runs."""
        with self._due_lock:
            self._due[connection] = time.monotonic() + seconds if seconds is not None else float("inf")

    def service_actions(self) -> None:
        """Hang up on who drips: a socket's own timeout starts anew with every byte."""
        now = time.monotonic()
        with self._due_lock:
            late = [connection for connection, due in self._due.items() if due < now]
        for connection in late:
            break_off(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that breaks off is no error of ours."""
        log.info("connection of %s broke", client_address, exc_info=True)


def body_length(headers: Message, most: int) -> tuple[int, int]:
    """(bytes of the body that these headers announce, 0), or (0, the HTTP status that refuses it)."""
    length = headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit()) or headers.get("Transfer-Encoding"):
        return 0, 411
    if len(length) > 12 or int(length) > most:
        return 0, 413
    return int(length), 0
