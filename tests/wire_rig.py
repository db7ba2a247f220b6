"""A real server with a trivial master behind it, and peers that misbehave."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rpyc.core import brine, consts

from omserver_client import Client, connect
from omserver_client.envelope import CLIENT, MASTER, seal, unseal
from omserver_client.errors import LoginFailed, LoginRequired, Unavailable, UnknownModule
from omserver_client.keyfile import Key, new_key
from omserver_client.messages import Reply, Request
from omserver_master.caller import Caller, CallerKey
from omserver_master.wire import Caps, Doors, HardenedServer, Limits

HEADER = struct.Struct("!LB")
ROOT = ("omserver.Master", 1, 1)


class Ring:
    """Client keys in memory."""

    def __init__(self, *keys: Key) -> None:
        self.keys = {key.kid: key for key in keys}
        #: Keys that were looked up before the database went down.
        self.remembered: dict[bytes, Key] = {}
        self.down = False

    def known(self, kid: bytes) -> Key | None:
        return self.remembered.get(kid)

    def lookup(self, kid: bytes, session: str | None = None) -> tuple[Key, CallerKey] | None:
        if self.down:
            raise Unavailable("The database cannot be reached.")
        key = self.keys.get(kid)
        return (key, CallerKey(key.kid_hex, key.name, "operator", 1)) if key else None


@dataclass
class Master:
    """Answers every request with what it was, and remembers it."""

    seen: list[tuple[Request, Caller]] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    answer: Callable[[Request, Caller], Reply] | None = None
    login: Callable[[str, str, str], bool] | None = None

    def dispatch(self, request: Request, caller: Caller) -> Reply:
        self.seen.append((request, caller))
        if self.answer:
            return self.answer(request, caller)
        return Reply(request.id, ok={"op": request.op, "args": dict(request.args), "user": who(caller)})

    def check_login(self, user: str, password: str, address: str) -> bool:
        return self.login(user, password, address) if self.login else password == f"{user}'s password"

    def audit_refusal(self, address: str, kid: str, reason: str) -> None:
        self.refusals.append((address, kid, reason))

    def doors(self) -> Doors:
        return Doors(self.dispatch, self.check_login, self.audit_refusal)


def who(caller: Caller) -> str:
    """The person, as access would find it: token, connection, service account."""
    if caller.session_token:
        return f"session {caller.session_token}"
    if caller.login_failed:
        raise LoginFailed
    return caller.connection_user or "service account"


def legacy(request: Request, caller: Caller) -> Reply:
    """A master whose key has no service account, and that has one module."""
    if request.args.get("module") != "1003":
        raise UnknownModule
    if not (caller.session_token or caller.connection_user):
        raise LoginRequired
    return Reply(request.id, ok={"job": 1, "state": "succeeded", "done": True, "results": []})


@dataclass
class Rig:
    """A running server, and what is needed to talk to it."""

    server: HardenedServer
    master: Master
    key: Key
    ring: Ring

    @property
    def port(self) -> int:
        return self.server.port

    def client(self, **options: Any) -> Client:
        return connect("127.0.0.1", self.port, key=options.pop("key", self.key), **options)

    def peer(self) -> Peer:
        return Peer(self.port, self.key)


@contextlib.contextmanager
def running(
    *,
    caps: Caps | None = None,
    limits: Limits | None = None,
    key: Key | None = None,
    port: int = 0,
    **more: Any,
) -> Iterator[Rig]:
    """A server with one key; at the end no thread of it may be left."""
    before = set(threading.enumerate())
    master, key = Master(), key or new_key("tests")
    ring = Ring(key)
    more = {"caps": caps, "limits": limits, "audited": 100_000} | more
    with HardenedServer("127.0.0.1", port, master.doors(), ring, **more) as server:
        yield Rig(server, master, key, ring)
    assert wait_until(lambda: set(threading.enumerate()) <= before, 2), "a thread was left behind"
    assert server.gate.counts() == (0, 0)


class Peer:
    """A client that says what it is told to, byte for byte."""

    def __init__(self, port: int, key: Key | None = None, timeout: float = 10) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.key = key
        self.seq = 0
        self.number = 0
        self.challenge = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send_frame(self, payload: bytes, *, length: int | None = None, compressed: int = 0) -> None:
        size = len(payload) if length is None else length
        self.sock.sendall(HEADER.pack(size, compressed) + payload + b"\n")

    def receive_frame(self) -> bytes:
        """One payload; empty at the end of the connection."""
        header = self._exactly(HEADER.size)
        return self._exactly(HEADER.unpack(header)[0] + 1)[:-1] if header else b""

    def request(self, handler: Any, args: Any, kind: int = consts.MSG_REQUEST) -> tuple[int, Any]:
        """Send a request with boxed *args*; answer (message type, boxed answer or exception)."""
        self.number += 1
        self.send_frame(bytes([kind]) + brine.dump((self.number, (handler, args))))
        payload = self.receive_frame()
        if not payload:
            raise EOFError
        number, answer = brine.load(payload[1:])
        assert number == self.number
        return payload[0], answer

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a name by value; a remote exception becomes a ValueError."""
        boxed = (consts.LABEL_TUPLE, ((consts.LABEL_LOCAL_REF, ROOT), value(name), value(arguments)))
        kind, answer = self.request(consts.HANDLE_CALLATTR, boxed)
        if kind == consts.MSG_EXCEPTION:
            raise ValueError(answer)
        assert answer[0] == consts.LABEL_VALUE
        return answer[1]

    def greet(self) -> dict[str, Any]:
        greeting = json.loads(self.call("call", b""))
        self.challenge = base64.b64decode(greeting["challenge"])
        return greeting

    def sealed(self, plaintext: bytes | None = None, seq: int | None = None) -> bytes:
        """A message for this connection, by default a good one."""
        if not self.challenge:
            self.greet()
        self.seq = self.seq + 1 if seq is None else seq
        plaintext = good_request() if plaintext is None else plaintext
        return seal(self.key, self.seq, CLIENT, self.challenge, plaintext)

    def opened(self, answer: bytes, seq: int | None = None) -> bytes:
        return unseal(self.key, seq or self.seq, MASTER, self.challenge, answer)

    def is_closed(self, within: float) -> bool:
        """Whether the server ends the connection in that time."""
        self.sock.settimeout(within)
        try:
            return self.sock.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def _exactly(self, count: int) -> bytes:
        received = b""
        with contextlib.suppress(ConnectionError):
            while len(received) < count and (chunk := self.sock.recv(count - len(received))):
                received += chunk
        return received if len(received) == count else b""


def call_frame(peer: Peer) -> bytes:
    """The frame of a good request through ``call``."""
    boxed = ((consts.LABEL_LOCAL_REF, ROOT), value("call"), value((peer.sealed(),)))
    return bytes([consts.MSG_REQUEST]) + brine.dump(
        (99, (consts.HANDLE_CALLATTR, (consts.LABEL_TUPLE, boxed)))
    )


def value(plain: Any) -> tuple[int, Any]:
    return (consts.LABEL_VALUE, plain)


def good_request(op: str = "status", **more: Any) -> bytes:
    return Request(op, {}, time.time() + 30, **more).to_json()


def wait_until(true: Callable[[], bool], within: float = 5.0) -> bool:
    """Whether *true* comes true in time."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.01)
    return bool(true())
