"""A minion's HTTPS door: one thread per connection, which also does the TLS handshake.

Answers as the original's clients need it: HTTP/1.1, no ``Connection: close``, large replies packed for who
can unpack them, else the connection is closed after the reply without a word.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import xmlrpc.client
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

from .dispatch import Dispatcher
from .door import Door, body_length
from .errors import MalformedMessage
from .subject import Subject, subject_of
from .wire import PACK_FROM, pack, read_request, write_fault

log = logging.getLogger(__name__)

#: Seconds of silence after which a connection is closed.
READ_TIMEOUT = 20.0
#: Seconds for a TLS handshake, or for one request to arrive, in all.
MOST_SECONDS = 120.0
MOST_BODY = 16 * 1024 * 1024
_REFUSED_SECONDS = 2.0
_PATHS = ("/", "/RPC2")
#: The original's reader hangs on a longer reply that is not packed, unless the connection ends.
_CLOSE_FROM = 8000


class MinionServer(Door):
    """Listens on *address*; serves until `shutdown`."""

    first_seconds = READ_TIMEOUT

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, dispatcher: Dispatcher) -> None:
        self.context = context
        self.dispatcher = dispatcher
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "omserver-funcd"
    sys_version = ""
    timeout = READ_TIMEOUT
    server: MinionServer

    def setup(self) -> None:
        self.raw = cast("socket.socket", self.request)
        self.raw.settimeout(READ_TIMEOUT)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = self.server.context.wrap_socket(
            self.raw.dup(), server_side=True, do_handshake_on_connect=False
        )
        try:
            sock.settimeout(READ_TIMEOUT)
            sock.do_handshake()
            self.caller = caller_of(sock)
        except BaseException:
            _let_read(self.raw)
            sock.close()
            raise
        self.request = sock
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def handle_one_request(self) -> None:
        self.server.due(self.raw, MOST_SECONDS)
        super().handle_one_request()

    def do_POST(self) -> None:
        """One call."""
        if self.path not in _PATHS:
            self._refuse(404)
            return
        body = self._body()
        if body is None:
            return
        self.server.due(self.raw, None)
        try:
            method, arguments = read_request(body)
        except MalformedMessage as error:
            log.info("%s sent no call: %s", self.client_address, error)
            self._refuse(400)
            return
        except xmlrpc.client.Fault:
            self._refuse(400)
            return
        self._reply(self._answer(method, arguments))

    def _answer(self, method: str, arguments: list[Any]) -> bytes:
        address = str(self.client_address[0])
        try:
            return self.server.dispatcher.answer(method, arguments, self.caller, address)
        except xmlrpc.client.Fault as fault:
            return write_fault(fault.faultCode, fault.faultString)
        except Exception:
            log.exception("a call broke")
            return write_fault(1, "<type 'exceptions.Exception'>:The minion could not do that.")

    def _body(self) -> bytes | None:
        length, refusal = body_length(self.headers, MOST_BODY)
        if refusal:
            self._refuse(refusal)
        elif self.headers.get("Content-Encoding", "identity").lower() != "identity":
            self._refuse(415)
        else:
            body = self.rfile.read(length)
            if len(body) == length:
                return body
            self.close_connection = True
        return None

    def _reply(self, document: bytes) -> None:
        packed = "gzip" in self.headers.get("Accept-Encoding", "").lower() and len(document) > PACK_FROM
        if packed:
            document = pack(document)
        elif len(document) >= _CLOSE_FROM:
            self.close_connection = True
        self.server.due(self.raw, MOST_SECONDS)
        self.send_response(200)
        self.send_header("Content-type", "text/xml")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def _refuse(self, status: int) -> None:
        """An answer without a body; what follows on this connection is not read."""
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s: " + format, self.client_address[0], *args)


def _let_read(raw: socket.socket) -> None:
    """Give a refused caller the time to read why: closed at once, the alert may be lost."""
    with contextlib.suppress(OSError):
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(_REFUSED_SECONDS)
        for _ in range(16):
            if not raw.recv(65536):
                return


def caller_of(sock: ssl.SSLSocket) -> Subject:
    """Who is at the other end of *this* connection.

    Raises:
        ssl.SSLError: nobody who could be told.
    """
    certificate = sock.getpeercert(binary_form=True)
    if not certificate:
        raise ssl.SSLError("The caller shows no certificate.")
    try:
        return subject_of(certificate)
    except ValueError as error:
        raise ssl.SSLError(f"The caller's certificate can't be read: {error}") from error
