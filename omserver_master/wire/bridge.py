"""The bridge for programs of 2014: RC4 tokens, ``login`` and ``Runcommands``, from listed addresses only.

What such a program may do is what the person may who logged in on its connection, as an operator at most.
Nothing in a token proves who made it, so the login on the same connection is asked for first, and a token's
salt is good for one job.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import rpyc

from omserver_client.errors import BadRequest, LoginFailed, LoginRequired, Refused, UnknownModule
from omserver_client.messages import (
    INVALID_LOGIN,
    LIFE,
    VERIFY_FAILED,
    Reply,
    Request,
    module_missing_text,
)
from omserver_client.taskstring import Task

from ..caller import Caller, CallerKey
from .connection import MasterConnection, Name
from .doors import LONGEST_USER, Doors
from .gate import Place
from .html2014 import escaped, fragment
from .rc4 import Unreadable, seal, unseal
from .refusals import Refusals

log = logging.getLogger(__name__)

#: By what programs of 2014 go in the audit and in the list of jobs.
KEY = CallerKey("rc4", "RC4 bridge", "operator")
#: After this many tokens that could not be read, the connection is closed.
STRIKES = 3
#: The first byte of a TLS connection; a frame of RPyC begins with the first of four bytes of its length.
_TLS_RECORD = b"\x16"
_UNREADABLE = "The task string could not be read: is the SECRET_KEY the master's?"
_TOO_MANY = "This address has all the connections it may have."


def _random_number() -> int:
    return secrets.randbits(46) | 1 << 46


@dataclass(frozen=True)
class Bridge:
    """Who is served and under which secret. *number* answers the numbers of objects, for RPyC 3."""

    secret: str = field(repr=False)
    addresses: frozenset[str]
    number: Callable[[], int] = _random_number

    def serves(self, address: str) -> bool:
        """Whether programs of 2014 are served from *address*, as IPv4 or as IPv4 within IPv6."""
        return plain_address(address) in self.addresses


def plain_address(address: str) -> str:
    """The one way to write an IP address.

    Raises:
        ValueError: it is none.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def begins_in_clear(sock: socket.socket) -> bool:
    """Whether the peer begins with something that is not TLS. Waits as long as the socket's own limit."""
    return sock.recv(1, socket.MSG_PEEK) not in (_TLS_RECORD, b"")


class Line(Protocol):
    """A connection, as far as the bridge has to do with it."""

    def trust(self, limit: int) -> None:
        """The peer has proved something: it may stay."""

    def end(self) -> None:
        """Close once the answer at hand is sent."""


class OldClient:
    """What one program of 2014 may ask on its connection. Used by that connection's thread only."""

    def __init__(
        self, bridge: Bridge, doors: Doors, place: Place, refusals: Refusals, max_frame: int
    ) -> None:
        self._bridge = bridge
        self._doors = doors
        self._place = place
        self._refusals = refusals
        self._max_frame = max_frame
        self._strikes = 0
        #: Who logged in on this connection, and whether the last try failed.
        self.user: str | None = None
        self.login_failed = False
        #: Set by whoever holds the connection.
        self.line: Line | None = None

    def login(self, user: str, password: str) -> None:
        """Mark this connection as *user*'s, or as one whose login failed; answer nothing either way."""
        self.user, self.login_failed = None, True
        if len(user) <= LONGEST_USER and self._checked(user, password):
            self.user, self.login_failed = user, False

    def runcommands(self, token: str) -> str:
        """Run the task in *token*; a token with the results, or with the text of 2014 that says why not."""
        return seal(self._bridge.secret, self._answer(token))

    def _answer(self, token: str) -> str:
        if self.user is None:
            self._report("Runcommands of 2014 without a good login")
            return VERIFY_FAILED if self.login_failed else INVALID_LOGIN
        try:
            opened = unseal(self._bridge.secret, token)
        except Unreadable:
            self._strikes += 1
            self._report("a token of 2014 that cannot be read")
            if self._strikes >= STRIKES:
                self._end()
            return _UNREADABLE
        try:
            args = Task.parse(opened.text).to_args()
        except BadRequest as refused:
            self._report(f"a task string of 2014 that is none: {refused.text}")
            return escaped(refused.text, self._room())
        if not self._place.prove(f"rc4 {self._place.address}"):
            self._end()
            return _TOO_MANY
        if self.line is not None:
            self.line.trust(self._max_frame)
        # The salt is the message's number: a token that is sent again, changed or not, makes no second job.
        request = Request("runcommands", args, time.time() + LIFE, f"rc4-{opened.salt.hex()}")
        return self._said(self._dispatched(request), args["module"])

    def _dispatched(self, request: Request) -> Reply:
        caller = Caller(KEY, self._place.address, None, self.user, self.login_failed)
        try:
            return self._doors.dispatch(request, caller)
        except Refused as refused:
            return Reply.refusing(request.id, refused)
        except Exception:  # whatever fails behind the door, the client gets an answer
            log.exception("request %s (%s) failed", request.id, request.op)
            return Reply.refusing(request.id, Refused("The master failed; its log says why."))

    def _said(self, reply: Reply, module: str) -> str:
        if reply.ok is not None:
            return fragment(reply.ok, self._room())
        return text_of_2014(reply, module) or escaped(str((reply.error or {}).get("text", "")), self._room())

    def _room(self) -> int:
        """Bytes of plaintext that fit into a frame as base64, with the frame's own parts."""
        return self._max_frame * 3 // 4 - 1024

    def _checked(self, user: str, password: str) -> bool:
        try:
            return self._doors.check_login(user, password, self._place.address)
        except Refused as refused:
            log.info("login refused from %s: %s", self._place.address, refused)
            return False

    def _report(self, reason: str) -> None:
        self._refusals.report(self._place.address, KEY.kid, reason)

    def _end(self) -> None:
        if self.line is not None:
            self.line.end()


class ClearService(rpyc.Service):  # type: ignore[misc]  # rpyc has no types
    """The root for a program of 2014 that speaks today's RPyC where everybody else has to speak TLS."""

    _protocol = MasterConnection

    def __init__(self, client: OldClient) -> None:
        self._client = client
        self.names: Mapping[str, Name] = {
            "login": Name(client.login, (str, str)),
            "Runcommands": Name(client.runcommands, (str,)),
        }

    def on_connect(self, conn: MasterConnection) -> None:
        """Let the client trust and end it."""
        self._client.line = conn


def text_of_2014(reply: Reply, module: str) -> str:
    """What ``Runcommands`` answered in 2014 to such a refusal; ``""`` where it had no word for it."""
    texts = {
        LoginRequired.code: INVALID_LOGIN,
        LoginFailed.code: VERIFY_FAILED,
        UnknownModule.code: module_missing_text(module),
    }
    return texts.get(str((reply.error or {}).get("code")), "")
