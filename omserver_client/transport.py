"""One connection to the master: three remote names are called by it, and nothing is served to the other side.

It speaks the part of RPyC's protocol that a call needs, and no more: it asks for the root once, then calls
the root's attributes by name. No remote object is ever built here, no request of the peer is ever answered.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
import ssl
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

from rpyc.core import brine, consts

from .errors import NotReached, ProtocolError
from .frames import MAX_FRAME, DeadlineStream, LimitedChannel, load

CONNECT_TIMEOUT = 5.0
#: What localhost means, whatever a resolver thinks. Of several refusals the last address's is told.
LOCALHOST = ("::1", "127.0.0.1")
#: What a program of this machine calls where the master listens on all addresses: no certificate names those.
LISTENS_ON_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- nothing listens here
#: How long one frame may take in either direction, in seconds.
FRAME_TIMEOUT = 30.0
#: OpenSSL's codes for a certificate that is good, of another host name or address.
_OTHER_NAME = (62, 64)
_PERHAPS_TLS = "If it speaks TLS, set OMSERVER_CA_FILE to the ca.pem that vouches for it."


class Transport:
    """A connection to the master at *host*:*port*, over TLS if *tls* is given.

    An address that means all addresses of this machine is called by its loopback one. Without TLS it connects
    to this machine only. With TLS, *tls* must verify the master: use `ssl.create_default_context`, with
    ``cafile`` for a private CA.

    Raises:
        NotReached: nobody answers there, or it is another machine and there is no TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_frame: int = MAX_FRAME,
    ) -> None:
        host = LISTENS_ON_ALL.get(host, host)
        self.where = f"{host}:{port}"
        self._numbers = itertools.count(1)
        sock = self._connect(host, port, tls, connect_timeout)
        self._channel = LimitedChannel(DeadlineStream(sock, FRAME_TIMEOUT), max_frame)
        self._root = self._find_root(connect_timeout, plain=tls is None)

    def call(self, name: str, argument: bytes | str, timeout: float) -> object:
        """Call the remote *name* and answer what it answers, within *timeout* seconds.

        Raises:
            NotReached: the connection ended, or the answer did not come in time; either way it is closed now.
            ProtocolError: the master answered something else than a value.
        """
        args = (
            (consts.LABEL_LOCAL_REF, self._root),
            (consts.LABEL_VALUE, name),
            (consts.LABEL_VALUE, (argument,)),
        )
        label, value = self._request(consts.HANDLE_CALLATTR, args, timeout)
        if label != consts.LABEL_VALUE:
            raise self._confused("an object instead of a value")
        return value

    def usable(self) -> bool:
        """Whether the connection still stands. The master says nothing unasked: what came is the end."""
        try:
            return not self._channel.closed and not self._channel.poll(0)
        except (EOFError, OSError):
            return False

    def close(self) -> None:
        """Close the connection, waiting for nobody."""
        self._channel.close()

    def _connect(self, host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> socket.socket:
        try:
            addresses = _resolve(host, port, timeout)
            if tls is None and not all(ipaddress.ip_address(ip).is_loopback for ip, _ in addresses):
                raise NotReached(f"{self.where} is not this machine: a connection there needs TLS.")
            sock = _connected(addresses, timeout)
            return sock if tls is None else _secured(sock, tls, host)
        except NotReached:
            raise
        except ssl.SSLCertVerificationError as error:
            raise NotReached(self._not_proved(error)) from error
        except ConnectionRefusedError as error:
            raise NotReached(f"The master is not running at {self.where}: connection refused.") from error
        except (OSError, UnicodeError) as error:  # the latter: the name cannot be one of the DNS
            raise NotReached(f"The master at {self.where} was not reached: {error}.") from error

    def _not_proved(self, error: ssl.SSLCertVerificationError) -> str:
        said = f"The master at {self.where} was not believed: {error.verify_message}."
        if error.verify_code not in _OTHER_NAME:
            return f"{said} OMSERVER_CA_FILE (--ca) must be the ca.pem of its own authority."
        return (
            f"{said} Call it by a name that its certificate has (OMSERVER_RPYC_HOST, --host), or make one"
            " with this name too: omserver tls make."
        )

    def _find_root(self, timeout: float, *, plain: bool) -> tuple[Any, ...]:
        try:
            label, value = self._request(consts.HANDLE_GETROOT, (), timeout)
            if label != consts.LABEL_REMOTE_REF or not isinstance(value, tuple):
                raise self._confused("no root object")
        except NotReached as error:
            if plain and error.__cause__ is not None:  # it hung up, as whoever waits for TLS does
                raise NotReached(f"{error} {_PERHAPS_TLS}") from error
            raise
        except BaseException:
            self.close()
            raise
        return value

    def _request(self, handler: int, args: tuple[Any, ...], timeout: float) -> tuple[Any, Any]:
        number = next(self._numbers)
        request = (number, (handler, (consts.LABEL_TUPLE, args)))
        try:
            self._channel.send(bytes([consts.MSG_REQUEST]) + brine.dump(request))
            return self._answer(number, monotonic() + timeout)
        except NotReached:
            self.close()
            raise
        except (EOFError, OSError) as error:
            self.close()
            raise NotReached(f"The master at {self.where} is gone. {error}") from error

    def _answer(self, number: int, until: float) -> tuple[Any, Any]:
        if not self._channel.poll(max(0.0, until - monotonic())):
            raise NotReached(f"The master at {self.where} did not answer in time.")
        payload = self._channel.recv()
        kind, message = payload[0], load(payload)
        if not isinstance(message, tuple) or len(message) != 2 or message[0] != number:
            raise self._confused("no answer to the call")
        if kind == consts.MSG_EXCEPTION:
            raise ProtocolError(f"The master at {self.where} objected: {_objection(message[1])}")
        if kind != consts.MSG_REPLY or not isinstance(message[1], tuple) or len(message[1]) != 2:
            raise self._confused("no answer to the call")
        return message[1]

    def _confused(self, what: str) -> ProtocolError:
        self.close()
        return ProtocolError(f"The master at {self.where} sent {what}.")


def _resolve(host: str, port: int, timeout: float) -> list[tuple[str, int]]:
    """The addresses of *host*, within *timeout* seconds."""
    if host.lower() == "localhost":
        return [(ip, port) for ip in LOCALHOST]
    try:
        return [(str(ipaddress.ip_address(host)).partition("%")[0], port)]
    except ValueError:
        return [(ip, port) for ip in _looked_up(host, timeout)]


def _looked_up(host: str, timeout: float) -> list[str]:
    answers: SimpleQueue[list[str] | Exception] = SimpleQueue()
    Thread(target=_look_up, args=(host, answers), daemon=True).start()
    try:
        found = answers.get(timeout=timeout)
    except Empty:
        raise TimeoutError(f"nobody said within {timeout:.0f} s which address {host} has") from None
    if isinstance(found, Exception):
        raise found
    return found


def _look_up(host: str, answers: SimpleQueue[list[str] | Exception]) -> None:
    """Ask the system's resolver, which takes as long as it likes; hence a thread that nobody waits for."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        answers.put([str(address[0]).partition("%")[0] for *_, address in found])
    except (OSError, UnicodeError) as error:
        answers.put(error)


def _connected(addresses: list[tuple[str, int]], timeout: float) -> socket.socket:
    """A connection to the first address that takes one."""
    for address in addresses[:-1]:
        try:
            return socket.create_connection(address, timeout)
        except OSError:
            continue
    return socket.create_connection(addresses[-1], timeout)


def _secured(sock: socket.socket, tls: ssl.SSLContext, host: str) -> socket.socket:
    try:
        if not tls.check_hostname:  # which implies that certificates are verified at all
            raise NotReached("The TLS context does not verify the master and its host name.")
        return tls.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def _objection(raw: object) -> str:
    """The class and the words of a remote exception, which is never rebuilt here."""
    parts: Any = raw
    try:
        (_, name), words, *_ = parts
        return f"{name}: {', '.join(map(str, words))}"[:500]
    except (TypeError, ValueError):
        return "it does not say why"
