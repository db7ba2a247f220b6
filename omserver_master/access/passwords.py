"""Passwords: Argon2id, at most two at once; a user who does not exist takes as long as a wrong password."""

from __future__ import annotations

import secrets
from functools import cache
from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from omserver_client.errors import BadRequest, TooMany

SHORTEST: Final = 12
LONGEST: Final = 1024
#: Seconds that somebody waits at most for others' passwords to be checked.
QUEUE_TIMEOUT: Final = 10

#: Published with the original OMServer, or so common that they are tried first.
KNOWN: Final = frozenset(
    {
        "kjs23o4ij09ghf734iuhsdfhkgysihoiwhj38u4h",
        "administrator",
        "adminadminadmin",
        "password1234",
        "passwordpassword",
        "123456789012",
        "1234567890123",
        "12345678901234",
        "123456789abc",
        "abcdefghijkl",
        "abcdefghijklmnop",
        "qwertyuiop12",
        "qwertyuiop123",
        "qwertyuiopasdf",
        "iloveyou1234",
        "letmeinletmein",
        "changemechangeme",
        "welcome12345",
        "omserveromserver",
        "omserver1234",
        "omserver12345",
    }
)

#: 64 MiB, three passes.
_HASHER: Final = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)
_TURNS: Final = BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """What is stored of *password*.

    Raises:
        TooMany: too many others wait for theirs.
    """
    with _Turn():
        return _HASHER.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Whether *password* is the one that *stored* was made from; None (no such user) takes as long.

    Raises:
        TooMany: too many others wait for theirs.
    """
    with _Turn():
        nobodys = _nobodys()
        try:
            return _HASHER.verify(stored or nobodys, password[: LONGEST + 1]) and stored is not None
        except (Argon2Error, InvalidHashError):
            return False


def is_outdated(stored: str) -> bool:
    """Whether *stored* was made with weaker settings than today's."""
    return _HASHER.check_needs_rehash(stored)


def refuse_weak(user: str, password: str) -> None:
    """Refuse a password that is too short, well known, or little more than the user's own name.

    Raises:
        BadRequest: it is; the text says which.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadRequest(f"A password has {SHORTEST} to {LONGEST} characters.", field="password")
    plain = password.lower()
    if plain in KNOWN or len(set(plain)) < 5:
        raise BadRequest("That password is known to the world; choose another one.", field="password")
    if user.lower() in plain and len(plain.replace(user.lower(), "")) < 6:
        raise BadRequest("A password must not be made of the user's name.", field="password")


def invent() -> str:
    """A new random password that can be typed: 24 characters."""
    return secrets.token_urlsafe(18)


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_urlsafe(18))


class _Turn:
    """Waits for one of the places where a password is worked on: each takes 64 MiB."""

    def __enter__(self) -> None:
        if not _TURNS.acquire(timeout=QUEUE_TIMEOUT):
            raise TooMany("Too many people log in at this moment.", retry_after=QUEUE_TIMEOUT)

    def __exit__(self, *exc: object) -> None:
        _TURNS.release()
