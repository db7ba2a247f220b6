"""Sealed questions and answers over one connection: the challenge, the numbers, the master's clock."""

from __future__ import annotations

import base64
import binascii
import json
from time import monotonic

from .envelope import CHALLENGE_BYTES, CLIENT, MASTER, OVERHEAD, REFUSAL, seal, unseal
from .errors import OMServerError, ProtocolError, SealRefused
from .frames import MAX_FRAME
from .keyfile import Key
from .transport import Transport

#: What a frame holds besides the sealed bytes, at most.
FRAME_EXTRA = 256


class Conversation:
    """Speaks sealed to the master over *transport*, which is closed if the greeting fails.

    Raises:
        NotReached: the master went away.
        ProtocolError: what answered is not a master.
    """

    def __init__(self, transport: Transport, key: Key, timeout: float) -> None:
        self._transport = transport
        self._key = key
        self._seq = 0
        try:
            self.greet(timeout)
        except OMServerError:
            transport.close()
            raise

    @property
    def proved(self) -> bool:
        """Whether the master has opened a message of ours; before that it takes smaller frames."""
        return self._seq > 0

    def now(self) -> float:
        """The master's clock, in unix seconds: what it said at the start, and the time since."""
        return self._their_start + monotonic() - self._our_start

    def ask(self, plaintext: bytes, timeout: float) -> bytes:
        """Send *plaintext* sealed through ``call`` and answer the plaintext of the reply.

        Raises:
            NotReached: the answer did not come; whether the master acted is not known.
            SealRefused: the master could not open the message, or we its answer.
        """
        answer = self._transport.call("call", self._seal(plaintext), timeout)
        if not isinstance(answer, bytes):
            raise ProtocolError("The master answered call() with something else than bytes.")
        return self._open(answer)

    def ask_task(self, plaintext: bytes, timeout: float) -> bytes:
        """The same through ``Runcommands``, which takes and answers base64 text."""
        sealed = base64.b64encode(self._seal(plaintext)).decode()
        answer = self._transport.call("Runcommands", sealed, timeout)
        if not isinstance(answer, str):
            raise ProtocolError("The master answered Runcommands() with something else than text.")
        try:
            return self._open(base64.b64decode(answer, validate=True))
        except binascii.Error as error:
            raise ProtocolError(
                "The master answered Runcommands() with something else than base64."
            ) from error

    def greet(self, timeout: float) -> None:
        """Ask for the challenge and the master's clock; asked again, the challenge is the same.

        Raises:
            NotReached: the master went away.
            ProtocolError: what answered is not a master.
        """
        answer = self._transport.call("call", b"", timeout)
        self._our_start = monotonic()
        try:
            greeting = json.loads(answer if isinstance(answer, bytes) else b"")
            self._challenge = base64.b64decode(greeting["challenge"], validate=True)
            self._their_start = float(greeting["now"])
            self._largest = min(int(greeting["max_frame"]), MAX_FRAME) - FRAME_EXTRA
            version = greeting["v"]
        except (ValueError, TypeError, LookupError) as error:
            raise ProtocolError("What answered is not an OMServer master.") from error
        if version != 1 or len(self._challenge) != CHALLENGE_BYTES:
            raise ProtocolError(
                f"The master speaks version {version!r} of the protocol; this client speaks 1."
            )

    def usable(self) -> bool:
        """Whether the connection still stands, as far as can be told without asking."""
        return self._transport.usable()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _seal(self, plaintext: bytes) -> bytes:
        if len(plaintext) + OVERHEAD > self._largest:
            raise ProtocolError(f"A request of {len(plaintext)} bytes is larger than the master takes.")
        self._seq += 1
        return seal(self._key, self._seq, CLIENT, self._challenge, plaintext)

    def _open(self, answer: bytes) -> bytes:
        if answer == REFUSAL:
            raise SealRefused("The master refused the message: the key is unknown to it, or was revoked.")
        return unseal(self._key, self._seq, MASTER, self._challenge, answer)
