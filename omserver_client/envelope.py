"""The envelope, version 1: what a message looks like on the wire.

    sealed = version (1 byte, 1) | kid (8) | seq (8, big-endian) | nonce (12) | AES-256-GCM ciphertext and tag

The associated data is the 29 header bytes, the direction (``C`` client to master, ``M`` master to client) and
the challenge that the master gave this connection (32 bytes): a message opens on one connection, in one
direction, under one number. Whoever opens it must also see to it that the number rises.

    sealed = seal(key, 1, CLIENT, challenge, b'{"v":1,...}')
    plaintext = unseal(key, 1, CLIENT, challenge, sealed)
"""

from __future__ import annotations

import secrets
import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag

from .errors import SealRefused
from .keyfile import Key

VERSION = 1
CLIENT = b"C"
MASTER = b"M"
CHALLENGE_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
HIGHEST_SEQ = 2**64 - 1

#: The one answer, in clear, to whatever could not be opened: it tells nobody why.
REFUSAL = b'{"v":1,"refused":"seal"}'

_HEADER = struct.Struct(">B8sQ12s")
#: How much longer a sealed message is than its plaintext, in bytes.
OVERHEAD = _HEADER.size + TAG_BYTES


class Header(NamedTuple):
    """What can be read of a sealed message without its key. Nothing of it is to be believed yet."""

    version: int
    kid: bytes
    seq: int
    nonce: bytes


def read_header(sealed: bytes) -> Header:
    """Read the header of *sealed*.

    Raises:
        SealRefused: it is too short, or of another version.
    """
    if len(sealed) < OVERHEAD:
        raise SealRefused
    header = Header(*_HEADER.unpack_from(sealed))
    if header.version != VERSION:
        raise SealRefused
    return header


def seal(
    key: Key, seq: int, direction: bytes, challenge: bytes, plaintext: bytes, *, nonce: bytes | None = None
) -> bytes:
    """Seal *plaintext*. Give a *nonce* for test vectors only: one used twice gives the key away.

    Raises:
        ValueError: seq, direction or challenge are not what the envelope can carry.
    """
    nonce = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
    if not 0 < seq <= HIGHEST_SEQ:
        raise ValueError(f"seq must be 1 to {HIGHEST_SEQ}")
    header = _HEADER.pack(VERSION, key.kid, seq, nonce)
    return header + key.cipher.encrypt(nonce, plaintext, _context(header, direction, challenge))


def unseal(key: Key, seq: int, direction: bytes, challenge: bytes, sealed: bytes) -> bytes:
    """Open *sealed* and answer its plaintext.

    Raises:
        SealRefused: it was not sealed with this key, number, direction and challenge, or was changed since.
    """
    header = read_header(sealed)
    if header.seq != seq:
        raise SealRefused
    return unseal_behind(header, key, direction, challenge, sealed)


def unseal_behind(header: Header, key: Key, direction: bytes, challenge: bytes, sealed: bytes) -> bytes:
    """Open *sealed*, whose *header* was read already; what its number may be is for the caller to say.

    Raises:
        SealRefused: it was not sealed with this key, number, direction and challenge, or was changed since.
    """
    if header.kid != key.kid:
        raise SealRefused
    context = _context(sealed[: _HEADER.size], direction, challenge)
    try:
        return key.cipher.decrypt(header.nonce, sealed[_HEADER.size :], context)
    except InvalidTag:
        raise SealRefused from None


def _context(header: bytes, direction: bytes, challenge: bytes) -> bytes:
    if direction not in (CLIENT, MASTER) or len(challenge) != CHALLENGE_BYTES:
        raise ValueError("direction must be C or M, the challenge 32 bytes")
    return header + direction + challenge
