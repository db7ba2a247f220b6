"""The envelope of 2014: ``base64(salt[16] + RC4(key = SHA1(secret + salt), data))``. For the bridge only.

It hides the text from who only listens. It proves nothing: whoever can change a token on its way changes the
text in it, and nobody notices.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from typing import NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher

SALT_BYTES = 16


class Unreadable(ValueError):
    """What came is no token, or not one under this secret."""


class Opened(NamedTuple):
    """A token that was opened: the salt it came with, and its text."""

    salt: bytes
    text: str


def seal(secret: str, text: str, salt: bytes | None = None) -> str:
    """*text* as a token. *salt* is for tests; without it each token has one of its own."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    return base64.b64encode(salt + _rc4(secret, salt, text.encode())).decode()


def unseal(secret: str, token: str) -> Opened:
    """Open *token*. That it opens is no proof of who made it.

    Raises:
        Unreadable: it is no base64, too short, or its text is no UTF-8.
    """
    try:
        raw = base64.b64decode(token, validate=True)
        if len(raw) < SALT_BYTES:
            raise Unreadable("It is too short for a token.")
        salt, data = raw[:SALT_BYTES], raw[SALT_BYTES:]
        return Opened(salt, _rc4(secret, salt, data).decode())
    except (binascii.Error, ValueError) as error:
        raise Unreadable("It is no token under this SECRET_KEY.") from error


def _rc4(secret: str, salt: bytes, data: bytes) -> bytes:
    key = hashlib.sha1(secret.encode() + salt, usedforsecurity=False).digest()
    cipher = Cipher(ARC4(key), mode=None).encryptor()
    return cipher.update(data) + cipher.finalize()
