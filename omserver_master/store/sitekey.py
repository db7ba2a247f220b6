"""The site data key: one file of mode 0600, from which each use derives a key of its own.

Losing the file means losing all outputs, client keys and secret settings of connections in the database; it
belongs into a backup, apart from that of the database.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from omserver_client.keyfile import is_weak

from ..errors import SiteKeyError

MARK = "omserver-site-1"
_BYTES = 32
_NONCE = 12


@dataclass(frozen=True)
class SiteKey:
    """The keys derived from HOME/site.key, one per use."""

    _outputs: AESGCM = field(repr=False)
    _digests: bytes = field(repr=False)
    _client_keys: AESGCM = field(repr=False)
    _connections: AESGCM = field(repr=False)
    _marks: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> SiteKey:
        """The keys that are derived from the 32 bytes *secret*."""
        return cls(
            AESGCM(_derived(secret, b"outputs")),
            _derived(secret, b"output digests"),
            AESGCM(_derived(secret, b"client keys")),
            AESGCM(_derived(secret, b"connections")),
            _derived(secret, b"marks"),
        )

    def digest(self, text: bytes) -> str:
        """What one output is known by; without the key it says nothing about the text."""
        return hmac.new(self._digests, text, sha256).hexdigest()

    def mark(self, text: str) -> str:
        """What shows that *text* was written by somebody who has the key."""
        return hmac.new(self._marks, text.encode(), sha256).hexdigest()

    def seal_output(self, text: bytes, digest: str) -> bytes:
        """Encrypt an output, bound to its *digest*."""
        return _seal(self._outputs, text, b"outputs|" + digest.encode())

    def open_output(self, body: bytes, digest: str) -> bytes:
        """Undo `seal_output`.

        Raises:
            SiteKeyError: it was sealed under another site key, or changed since.
        """
        return _open(self._outputs, body, b"outputs|" + digest.encode())

    def seal_client_key(self, secret: bytes, kid: str) -> bytes:
        """Encrypt the secret of the client key *kid*."""
        return _seal(self._client_keys, secret, b"client_keys|" + kid.encode())

    def open_client_key(self, body: bytes, kid: str) -> bytes:
        """Undo `seal_client_key`.

        Raises:
            SiteKeyError: it was sealed under another site key, or changed since.
        """
        return _open(self._client_keys, body, b"client_keys|" + kid.encode())

    def seal_connection(self, text: bytes, connection_id: int) -> bytes:
        """Encrypt the secret settings of a connection."""
        return _seal(self._connections, text, f"connections|{connection_id}".encode())

    def open_connection(self, body: bytes, connection_id: int) -> bytes:
        """Undo `seal_connection`.

        Raises:
            SiteKeyError: it was sealed under another site key, or changed since.
        """
        return _open(self._connections, body, f"connections|{connection_id}".encode())


def make_site_key(path: Path) -> SiteKey:
    """Make the file with a new random key, or read it if it exists.

    Raises:
        SiteKeyError: it cannot be made or read.
    """
    text = f"{MARK} {base64.b64encode(secrets.token_bytes(_BYTES)).decode()}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return read_site_key(path)
    except OSError as error:
        raise SiteKeyError(f"The site key {path} cannot be made: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    return read_site_key(path)


def read_site_key(path: Path) -> SiteKey:
    """Read the site key.

    Raises:
        SiteKeyError: there is none, others may read it, or it is not one.
    """
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(1024)
    except OSError as error:
        hint = " `omserver db upgrade` makes one." if isinstance(error, FileNotFoundError) else ""
        raise SiteKeyError(f"The site key {path} cannot be read: {error.strerror}.{hint}") from error
    if mode & 0o077:
        raise SiteKeyError(f"The site key {path} can be read by others; run: chmod 600 {path}")
    return SiteKey.of(_parsed(text, path))


def _parsed(text: bytes, path: Path) -> bytes:
    words = text.split()
    try:
        secret = base64.b64decode(words[1], validate=True) if words[0] == MARK.encode() else b""
    except (IndexError, ValueError):
        secret = b""
    if len(secret) != _BYTES or is_weak(secret):
        raise SiteKeyError(f"{path} is not a site key.")
    return secret


def _derived(secret: bytes, use: bytes) -> bytes:
    return HKDF(SHA256(), _BYTES, salt=None, info=b"omserver site 1: " + use).derive(secret)


def _seal(key: AESGCM, text: bytes, context: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + key.encrypt(nonce, text, context)


def _open(key: AESGCM, body: bytes, context: bytes) -> bytes:
    try:
        return key.decrypt(body[:_NONCE], body[_NONCE:], context)
    except (InvalidTag, ValueError) as error:
        raise SiteKeyError("What the database holds was not sealed with this site key.") from error
