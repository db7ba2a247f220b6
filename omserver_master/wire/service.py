"""The three remote names: ``login``, ``Runcommands`` and ``call``, for one connection each.

It opens and seals; what a request means is none of its business: that goes through the `Doors`.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from contextlib import suppress

import rpyc

from omserver_client.envelope import OVERHEAD, REFUSAL
from omserver_client.errors import BadRequest, InternalError, ProtocolError, Refused, TooMany
from omserver_client.messages import VERIFY_FAILED, Reply, Request, TaskRequest

from ..caller import Caller
from .bridge import OldClient, text_of_2014
from .connection import MasterConnection, Name, Objection
from .doors import LONGEST_USER, Doors
from .gate import Place
from .refusals import Refusals
from .session import Opened, Session, Unanswerable, Unopened

log = logging.getLogger(__name__)

#: What a frame holds besides the sealed bytes, at most.
FRAME_EXTRA = 256


class MasterService(rpyc.Service):  # type: ignore[misc]  # rpyc has no types
    """The root that one client sees.

    Args:
        private: nobody else can read this connection.
        old: answers tokens of 2014, where they are served.
    """

    _protocol = MasterConnection

    def __init__(
        self,
        doors: Doors,
        session: Session,
        place: Place,
        refusals: Refusals,
        *,
        private: bool,
        max_frame: int,
        old: OldClient | None = None,
    ) -> None:
        self._old = old
        self._doors = doors
        self._refusals = refusals
        self._session = session
        self._place = place
        self._private = private
        self._max_frame = max_frame
        self._user: str | None = None
        self._login_failed = False
        # The names of 2014, and the one that is ours.
        self.names = {
            "login": Name(self._login, (str, str)),
            "Runcommands": Name(self._runcommands, (str,)),
            "call": Name(self._call, (bytes,)),
        }

    def on_connect(self, conn: MasterConnection) -> None:
        """Keep the connection, to trust it or to end it."""
        self._connection = conn
        if self._old is not None:
            self._old.line = conn

    def _login(self, user: str, password: str) -> None:
        """Mark this connection as *user*'s, or as one whose login failed; answer nothing either way."""
        self._user, self._login_failed = None, True
        if not self._private:
            raise Objection("login in clear is for this machine only: use TLS, or the sealed auth.login.")
        if len(user) <= LONGEST_USER and self._checked(user, password):
            self._user, self._login_failed = user, False

    def _call(self, sealed: bytes) -> bytes:
        """One sealed request, one sealed reply. Nothing at all: the greeting, in clear."""
        if not sealed:
            return self._session.greeting()
        return self._exchange(sealed, self._answer_request, self._max_frame)

    def _runcommands(self, sealed: str) -> str:
        """A sealed task string, its sealed result, both in base64."""
        try:
            message = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            message = b""
        if self._old is not None and not self._session.knows(message):
            self._old.user, self._old.login_failed = self._user, self._login_failed
            return self._old.runcommands(sealed)
        answer = self._exchange(message, self._answer_task, self._max_frame * 3 // 4)
        return base64.b64encode(answer).decode()

    def _exchange(self, sealed: bytes, answer: Callable[[Opened], bytes], most: int) -> bytes:
        try:
            opened = self._session.open(sealed)
            plaintext = self._admitted(opened, answer)
        except Unopened as unopened:
            self._refuse(unopened)
            return REFUSAL
        except Unanswerable as unanswerable:
            opened, plaintext = unanswerable.opened, _unanswered(unanswerable)
        if len(plaintext) > most - OVERHEAD - FRAME_EXTRA:
            plaintext = _too_large(plaintext, most)
        return self._session.seal(opened, plaintext)

    def _admitted(self, opened: Opened, answer: Callable[[Opened], bytes]) -> bytes:
        if self._place.prove(opened.caller.kid):
            self._connection.trust(self._max_frame)
            return answer(opened)
        self._connection.end()
        return Reply.refusing("", TooMany("This key has all the connections it may have.")).to_json()

    def _refuse(self, unopened: Unopened) -> None:
        if self._session.strike():
            self._connection.end()
        self._refusals.report(self._place.address, unopened.kid, unopened.reason)

    def _answer_request(self, opened: Opened) -> bytes:
        try:
            request = Request.from_json(opened.plaintext)
        except BadRequest as refused:
            return Reply.refusing("", refused).to_json()
        return self._dispatched(request, opened).to_json()

    def _answer_task(self, opened: Opened) -> bytes:
        """The reply in JSON, or the text of 2014 where there was one."""
        try:
            request = TaskRequest.from_json(opened.plaintext).to_request()
        except BadRequest as refused:
            return Reply.refusing("", refused).to_json()
        if self._login_failed and request.session is None:
            self._check_expiry(request, opened)
            return VERIFY_FAILED.encode()
        reply = self._dispatched(request, opened)
        text = text_of_2014(reply, str(request.args["module"]))
        return text.encode() if text else reply.to_json()

    def _dispatched(self, request: Request, opened: Opened) -> Reply:
        self._check_expiry(request, opened)
        self._session.token = request.session
        caller = Caller(opened.caller, self._place.address, request.session, self._user, self._login_failed)
        try:
            return self._doors.dispatch(request, caller)
        except Refused as refused:
            return Reply.refusing(request.id, refused)
        except Exception:  # whatever fails behind the door, the client gets an answer
            log.exception("request %s (%s) failed", request.id, request.op)
            return Reply.refusing(request.id, InternalError(request=request.id))

    def _check_expiry(self, request: Request, opened: Opened) -> None:
        if request.expired(self._session.now()):
            raise Unopened("expired, or valid for too long", opened.caller.kid)

    def _checked(self, user: str, password: str) -> bool:
        try:
            return self._doors.check_login(user, password, self._place.address)
        except Refused as refused:
            log.info("login refused from %s: %s", self._place.address, refused)
            return False


def _unanswered(shut: Unanswerable) -> bytes:
    """The refusal of a message, whether it is a request or a task string."""
    for read in (Request.from_json, TaskRequest.from_json):
        with suppress(BadRequest):
            return Reply.refusing(read(shut.opened.plaintext).id, shut.refusal).to_json()
    return Reply.refusing("", shut.refusal).to_json()


def _too_large(plaintext: bytes, most: int) -> bytes:
    log.error("an answer of %d bytes does not fit into %d", len(plaintext), most)
    text = f"The answer is larger than {most} bytes; ask for less at a time."
    try:
        answered = Reply.from_json(plaintext).id
    except ProtocolError:
        answered = ""
    return Reply.refusing(answered, InternalError(text)).to_json()
