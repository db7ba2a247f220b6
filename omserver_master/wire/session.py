"""The sealed exchange on one connection: its challenge, its numbers, its key, its refusals."""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import NamedTuple, Protocol

from omserver_client.envelope import CHALLENGE_BYTES, CLIENT, MASTER, Header, read_header, seal, unseal_behind
from omserver_client.errors import SealRefused, Unavailable
from omserver_client.keyfile import Key

from ..caller import CallerKey

#: After this many messages that could not be opened, the connection is closed.
STRIKES = 3


class KeyRing(Protocol):
    """The client keys that this master knows."""

    def lookup(self, kid: bytes, session: str | None = None) -> tuple[Key, CallerKey] | None:
        """The key *kid*, or None if it is unknown or revoked. It is asked for every message.

        *session* is the token that the message before named.

        Raises:
            Unavailable: nobody can tell now.
        """

    def known(self, kid: bytes) -> Key | None:
        """The key *kid* as it was when it was looked up last; good for a refusal, and for nothing else."""


class Opened(NamedTuple):
    """A message that was opened: by which key, under which number, and what it says."""

    key: Key
    caller: CallerKey
    seq: int
    plaintext: bytes


class Unopened(SealRefused):
    """A message could not be opened. The reason is for the audit, never for the sender."""

    def __init__(self, reason: str, kid: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kid = kid


class Unanswerable(Exception):
    """A message was opened, and nobody can tell now whether its key still counts: it is refused, sealed."""

    def __init__(self, opened: Opened, refusal: Unavailable) -> None:
        super().__init__(str(refusal))
        self.opened = opened
        self.refusal = refusal


class Session:
    """What one connection remembers between its messages. Used by that connection's thread only."""

    def __init__(self, ring: KeyRing, max_frame: int) -> None:
        self._ring = ring
        self._max_frame = max_frame
        self._challenge = secrets.token_bytes(CHALLENGE_BYTES)
        self._start = time.time() - time.monotonic()
        self._kid: bytes | None = None
        #: The token of the session that the last request named.
        self.token: str | None = None
        self._seq = 0
        self._strikes = 0

    def now(self) -> float:
        """The clock of this connection: it does not jump when the machine's clock is set."""
        return self._start + time.monotonic()

    def greeting(self) -> bytes:
        """The only message in clear: the challenge, the clock and the frame limit."""
        challenge = base64.b64encode(self._challenge).decode()
        fields = {"v": 1, "challenge": challenge, "now": self.now(), "max_frame": self._max_frame}
        return json.dumps(fields).encode()

    def knows(self, sealed: bytes) -> bool:
        """Whether *sealed* names a key of this master. That it was sealed with it, only `open` can tell."""
        try:
            return self._ring.lookup(read_header(sealed).kid) is not None
        except SealRefused:
            return False

    def open(self, sealed: bytes) -> Opened:
        """Open a message of the client.

        Raises:
            Unopened: its key is unknown or revoked, its number did not rise, it was changed, or it was meant
                for another connection.
            Unanswerable: its key was known before, and cannot be looked up now.
            Unavailable: its key cannot be looked up now.
        """
        header = _header(sealed)
        if self._kid not in (None, header.kid):
            raise Unopened("another key than before on this connection", header.kid.hex())
        try:
            found = self._ring.lookup(header.kid, self.token)
        except Unavailable as refusal:
            key = self._ring.known(header.kid)
            if key is None:
                raise
            nobody = CallerKey(header.kid.hex(), key.name, "viewer")
            raise Unanswerable(self._unsealed(sealed, header, key, nobody), refusal) from refusal
        if found is None:
            raise Unopened("unknown or revoked key", header.kid.hex())
        return self._unsealed(sealed, header, *found)

    def _unsealed(self, sealed: bytes, header: Header, key: Key, caller: CallerKey) -> Opened:
        try:
            plaintext = unseal_behind(header, key, CLIENT, self._challenge, sealed)
        except SealRefused:
            why = "changed, replayed from elsewhere, or sealed with another secret"
            raise Unopened(why, header.kid.hex()) from None
        if header.seq <= self._seq:
            raise Unopened(f"replayed: number {header.seq} after {self._seq}", header.kid.hex())
        self._kid, self._seq = header.kid, header.seq
        return Opened(key, caller, header.seq, plaintext)

    def seal(self, opened: Opened, plaintext: bytes) -> bytes:
        """Seal the answer to *opened*."""
        return seal(opened.key, opened.seq, MASTER, self._challenge, plaintext)

    def strike(self) -> bool:
        """Count a message that was refused. True: that was one too many."""
        self._strikes += 1
        return self._strikes >= STRIKES


def _header(sealed: bytes) -> Header:
    try:
        return read_header(sealed)
    except SealRefused:
        raise Unopened("not a sealed message") from None
