"""The open line to the master that every command uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..client import Client, connect
from ..tls import client_context
from .profile import Profile, load_profile
from .saved import SavedLogin, load_login


def profile_and_login() -> tuple[Profile, SavedLogin | None]:
    """The profile, and the login kept for its master if there is one."""
    profile = load_profile()
    return profile, load_login(profile.address)


@contextmanager
def master(*, anonymous: bool = False) -> Iterator[Client]:
    """A client of the master, with the kept login unless *anonymous*; closed at the end.

    Raises:
        NotReached: there is no master at the profile's address.
    """
    profile, saved = profile_and_login()
    session = None if anonymous or saved is None else saved.session
    cert, own_key = (os.environ.get(f"OMSERVER_CLIENT_{name}", "") for name in ("CERT", "KEY"))
    tls = client_context(profile.ca, cert, own_key) if profile.ca else None
    key = profile.key_file
    with connect(profile.host, profile.port, key=key, session=session, tls=tls) as client:
        yield client
