"""Keys that seal messages, and the files that hold them.

A key file is one line, mode 0600: ``omserver-key-1 <name> <kid, 16 hex digits> <base64 of 32 bytes>``.
The name says which program the key was made for; the kid tells the master which of its keys to try.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from hmac import compare_digest
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import OMServerError

MARK = "omserver-key-1"
KID_BYTES = 8
SECRET_BYTES = 32
#: A key file is one short line; more than this is not one.
LONGEST_FILE = 1024

#: Secrets that were published with the original OMServer (as written there, and as a browser shows it).
#: Whoever finds one of them in a setting or a key must refuse to start.
PUBLISHED_SECRETS = frozenset(
    {
        "ctmj#&amp;8hrgow_^sj$ejt@9fzsmh_o)-=(byt5jmg=e3#foya6u",
        "ctmj#&8hrgow_^sj$ejt@9fzsmh_o)-=(byt5jmg=e3#foya6u",
    }
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class BadKeyFile(OMServerError, ValueError):
    """The key file cannot be used."""


@dataclass(frozen=True)
class Key:
    """A shared secret, the number it goes by on the wire, and the name people know it by."""

    name: str
    kid: bytes
    secret: bytes = field(repr=False)

    @cached_property
    def cipher(self) -> AESGCM:
        """What seals and opens with this key."""
        return AESGCM(self.secret)

    @property
    def kid_hex(self) -> str:
        """The kid as people and tables write it: 16 hex digits."""
        return self.kid.hex()


def is_weak(secret: bytes) -> bool:
    """Whether *secret* was published, or is made of too few different bytes to be random."""
    if any(compare_digest(secret, variant) for variant in _published_variants()):
        return True
    return len(set(secret)) < 8


def is_key_name(name: str) -> bool:
    """Whether *name* is 1 to 64 letters, digits, dots, dashes and underscores, and begins with none of these
    marks: it is part of a file's name.
    """
    return _NAME.fullmatch(name) is not None


def new_key(name: str) -> Key:
    """A fresh random key for the program *name*.

    Raises:
        BadKeyFile: *name* is not 1 to 64 letters, digits, dots, dashes and underscores.
    """
    _check_name(name)
    return Key(name, secrets.token_bytes(KID_BYTES), secrets.token_bytes(SECRET_BYTES))


def format_key(key: Key) -> str:
    """The line that a key file holds, with its line end."""
    return f"{MARK} {key.name} {key.kid_hex} {base64.b64encode(key.secret).decode()}\n"


def parse_key(line: str) -> Key:
    """Read the line of a key file.

    Raises:
        BadKeyFile: it is not such a line, or its secret is weak or known to the world.
    """
    words = line.split()
    if len(words) != 4 or words[0] != MARK:
        raise BadKeyFile(f'A key file is one line: "{MARK} <name> <kid> <secret>".')
    _check_name(words[1])
    key = Key(words[1], _kid(words[2]), _secret(words[3]))
    if is_weak(key.secret):
        raise BadKeyFile("The secret is not random, or was published; make a new key.")
    return key


def read_key(path: Path | str) -> Key:
    """Read a key file.

    Raises:
        BadKeyFile: there is none, others may read it, or it does not hold a good key.
    """
    path = Path(path).expanduser()
    try:
        return parse_key(_read_private(path))
    except FileNotFoundError as error:
        advice = "`omserver key create` on the master makes one, `omctl enroll` brings it to another machine."
        raise BadKeyFile(f"The key file {path} cannot be read: {error.strerror}. {advice}") from error
    except OSError as error:
        raise BadKeyFile(f"The key file {path} cannot be read: {error.strerror}.") from error
    except (BadKeyFile, UnicodeDecodeError) as error:
        raise BadKeyFile(f"The key file {path} cannot be used: {error}") from error


def write_key(path: Path | str, key: Key) -> None:
    """Write *key* into a new file of mode 0600 that survives a crash. Its folder must exist.

    Raises:
        FileExistsError: there is a file already; a key is never overwritten.
        OSError: it could not be written.
    """
    path = Path(path).expanduser()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)
        file.write(format_key(key))
        file.flush()
        os.fsync(descriptor)
    _sync_folder(path.parent)


def _read_private(path: Path) -> str:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            raise BadKeyFile(f"others may read it; run: chmod 600 {path}")
        return file.read(LONGEST_FILE).decode("ascii")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_name(name: str) -> None:
    if not is_key_name(name):
        raise BadKeyFile(f"{name!r} is not a key name: 1 to 64 letters, digits, dots, dashes, underscores.")


def _kid(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-f]{16}", text):
        raise BadKeyFile("The kid must be 16 hex digits.")
    return bytes.fromhex(text)


def _secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise BadKeyFile(f"The secret must be {SECRET_BYTES} bytes in base64.")
    return secret


def _published_variants() -> list[bytes]:
    """The published secrets, and what people make 32 bytes of them with: cutting."""
    whole = [text.encode() for text in PUBLISHED_SECRETS]
    return whole + [secret[:SECRET_BYTES] for secret in whole] + [secret[-SECRET_BYTES:] for secret in whole]
