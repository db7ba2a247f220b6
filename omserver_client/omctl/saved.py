"""The login that omctl keeps between its runs: a session token in a file of mode 0600."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .profile import home, read_object, write_private

FILE_NAME = "omctl-session.json"


@dataclass(frozen=True)
class SavedLogin:
    """Who logged in, at which master, and the token; a token is shown to no other master."""

    user: str
    address: str
    session: str = field(repr=False)


def _path() -> Path:
    return home() / FILE_NAME


def load_login(address: str) -> SavedLogin | None:
    """The login kept for the master at *address*, or None."""
    found = read_object(_path())
    if found.get("address") != address or not isinstance(found.get("session"), str):
        return None
    return SavedLogin(str(found.get("user", "")), address, found["session"])


def save_login(login: SavedLogin) -> None:
    """Keep *login*, in place of any other."""
    write_private(_path(), json.dumps(asdict(login)) + "\n")


def forget_login() -> None:
    """Keep no login any more."""
    _path().unlink(missing_ok=True)
