"""One connection to one minion: TLS, the name checked, one deadline for a whole call.

    with MinionConnection("web-01.lab.test", context, port=51234) as minion:
        minion.call("command.run", ["uptime"], seconds=60)

Head and body of a request are written apart: the original minion hangs on some sizes otherwise.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
import xmlrpc.client
from collections.abc import Sequence
from typing import Any, cast

from .errors import CallFailed, MalformedMessage, WrongMinion
from .tls import break_off, peer_names
from .wire import MOST_BYTES, read_reply, unpack, write_request

PORT = 51234
_PIECE = 16384


class MinionConnection:
    """Opened by the first call, kept open for the next, and opened anew where it was closed meanwhile."""

    def __init__(
        self,
        name: str,
        context: ssl.SSLContext,
        port: int = PORT,
        *,
        address: str = "",
        verify_name: bool = True,
    ) -> None:
        """*name* is what the minion's certificate must say; *address* is where it is, if not there."""
        self.name = name
        self._where = (address or name, port)
        self._context = context
        self._verify_name = verify_name
        self._sock: ssl.SSLSocket | None = None
        self._lock = threading.Lock()
        self._sent = self._over = self._calling = self._closing = False

    def __enter__(self) -> MinionConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. A call under way in another thread fails, unless its answer has come."""
        with self._lock:
            self._closing = self._calling
            if self._calling:
                # It closes by itself: under it, the number of this connection could be that of another file
                # before TLS, which knows nothing but the number, reads or writes once more.
                if self._sock is not None:
                    break_off(self._sock)
                return
        self._drop()

    def _drop(self) -> None:
        """Close the connection; nobody else uses it."""
        sock, self._sock = self._sock, None
        if sock is not None:
            break_off(sock)
            sock.close()

    def hang_up(self) -> bool:
        """Send nothing any more. Whether anything was sent before."""
        with self._lock:
            self._over = True
        self.close()
        return self._sent

    def call(
        self, method: str, arguments: Sequence[Any] = (), *, seconds: float, wait: float | None = None
    ) -> Any:
        """What the minion answers within *seconds*; it may be silent for *wait* seconds at a time.

        Raises:
            xmlrpc.client.Fault: the minion refuses.
            CallFailed: no answer that can be read; its cause says why.
            ValueError, TypeError, OverflowError: the arguments have no form in XML-RPC.
        """
        deadline = time.monotonic() + seconds
        body = write_request(method, arguments)
        with self._lock:
            self._calling = True
        try:
            return self._called(body, deadline, wait)
        finally:
            with self._lock:
                self._calling, closing, self._closing = False, self._closing, False
            if closing:
                self._drop()

    def _called(self, body: bytes, deadline: float, wait: float | None) -> Any:
        sent = False
        try:
            sock = self._sock
            if sock is None:
                sock = self._sock = self._connect(deadline, wait)
            self._allow_sending()
            timed = _Timed(sock, deadline, wait)
            self._send(timed, body)
            sent = True  # a request that could not be written whole is none
            return self._receive(timed)
        except xmlrpc.client.Fault:
            raise
        except (OSError, http.client.HTTPException, MalformedMessage) as error:
            self._drop()
            raise CallFailed(_words(error), sent and not is_refusal(error)) from error

    def _allow_sending(self) -> None:
        with self._lock:
            if self._over:
                raise ConnectionAbortedError("Nobody waits for it any more.")
            self._sent = True

    def _connect(self, deadline: float, wait: float | None) -> ssl.SSLSocket:
        host, port = self._where
        raw = _reach(_look_up(host, port, _left(deadline, wait))[:4], _left(deadline, wait))
        try:
            return self._secure(raw, deadline, wait)
        except BaseException:
            raw.close()
            raise

    def _secure(self, raw: socket.socket, deadline: float, wait: float | None) -> ssl.SSLSocket:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = self._context.wrap_socket(raw, do_handshake_on_connect=False)
        try:
            sock.settimeout(_left(deadline, wait))
            with _cut_off(sock, deadline):
                sock.do_handshake()
        except BaseException:
            sock.close()  # raw has handed it over, and closes nothing any more
            raise
        names = peer_names(sock)
        if self._verify_name and self.name.lower() not in names:
            sock.close()
            shown = ", ".join(sorted(names))[:200] or "nobody"
            raise WrongMinion(f"The certificate there belongs to {shown}, not to {self.name}.")
        return sock

    def _send(self, timed: _Timed, body: bytes) -> None:
        port = self._where[1]
        head = (
            f"POST /RPC2 HTTP/1.1\r\nHost: {self.name}:{port}\r\nAccept-Encoding: gzip\r\n"
            f"Content-Type: text/xml\r\nUser-Agent: omserver-func\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        timed.sendall(head.encode("ascii", "replace"))
        timed.sendall(body)

    def _receive(self, timed: _Timed) -> Any:
        response = http.client.HTTPResponse(cast("socket.socket", timed), method="POST")
        response.begin()
        if response.status != 200:
            raise http.client.HTTPException(f"HTTP status {response.status} {response.reason[:80]}")
        reply = response.read(MOST_BYTES + 1)
        if len(reply) > MOST_BYTES:
            raise MalformedMessage(f"The reply is longer than {MOST_BYTES} bytes.")
        if response.getheader("Content-Encoding", "").lower() == "gzip":
            reply = unpack(reply)
        if response.will_close:
            self._drop()
        return read_reply(reply)


def is_refusal(error: BaseException) -> bool:
    """Whether the other side ended the TLS handshake: then it has read nothing of what came after.

    In TLS 1.3 a client hears of that only when it reads.
    """
    return isinstance(error, ssl.SSLError) and "ALERT" in str(getattr(error, "reason", ""))


class _Timed(io.RawIOBase):
    """The socket as `http.client` wants it: every wait ends at the call's deadline."""

    def __init__(self, sock: ssl.SSLSocket, deadline: float, wait: float | None) -> None:
        self._sock, self._deadline, self._wait = sock, deadline, wait

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._deadline, self._wait))
        try:
            return self._sock.recv_into(buffer)
        except ssl.SSLEOFError:
            return 0  # many minions close without a word

    def sendall(self, content: bytes) -> None:
        for start in range(0, len(content), _PIECE):
            self._sock.settimeout(_left(self._deadline, self._wait))
            self._sock.sendall(content[start : start + _PIECE])

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _PIECE)


@contextlib.contextmanager
def _cut_off(sock: ssl.SSLSocket, deadline: float) -> Any:
    """End a handshake that drips: a socket's timeout starts anew with every byte."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), break_off, [sock])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _left(deadline: float, wait: float | None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("The minion took too long.")
    return left if wait is None else min(left, wait)


def _reach(addresses: Sequence[tuple[int, Any]], seconds: float) -> socket.socket:
    """A connection to the first of *addresses* that takes one; each gets its share of the time that is left.

    Raises:
        OSError: none does; what the last one said.
    """
    deadline = time.monotonic() + seconds
    for more, (family, where) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        raw = None
        try:
            raw = socket.socket(family, socket.SOCK_STREAM)
            raw.settimeout(max(0.01, (deadline - time.monotonic()) / more))
            raw.connect(where)
            return raw
        except BaseException as error:
            if raw is not None:
                raw.close()
            if more == 1 or not isinstance(error, OSError):
                raise
    raise TimeoutError("The minion has no address.")


def _look_up(host: str, port: int, seconds: float) -> list[tuple[int, Any]]:
    """The (family, address) pairs of *host*; a resolver that hangs is left behind in its thread."""
    with contextlib.suppress(OSError):
        socket.inet_pton(socket.AF_INET, host)
        return [(socket.AF_INET, (host, port))]
    found: list[tuple[int, Any]] = []
    failed: list[OSError] = []

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend((family, where) for family, *_, where in answers)
        except (OSError, UnicodeError) as error:
            failed.append(error if isinstance(error, OSError) else socket.gaierror(-2, f"No name: {host!r}"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"The name {host} could not be looked up in time.")
    return list(found)


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "It did not answer in time."
    if isinstance(error, WrongMinion):
        return str(error.args[0])
    if isinstance(error, http.client.RemoteDisconnected):
        return "It hung up without an answer."
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"Its certificate is not accepted: {error.verify_message}."
    if is_refusal(error):
        return f"It does not accept our certificate ({getattr(error, 'reason', '')})."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"{error}" or type(error).__name__
