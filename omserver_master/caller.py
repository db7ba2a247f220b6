"""Who sent a request, as far as the wire can tell. Who that is allowed to be, access decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import RowMapping


@dataclass(frozen=True)
class Acting:
    """What was read of the session with the hash ``token_hash`` at the same moment as the key."""

    token_hash: str
    rows: Sequence[RowMapping]


@dataclass(frozen=True)
class CallerKey:
    """The client key that sealed the request: it names a program and caps what it may do.

    ``kid`` is 16 hex digits; ``service_user_id`` the account that the program acts as when nobody is
    logged in.
    """

    kid: str
    name: str
    role_cap: str
    service_user_id: int | None = None
    acting: Acting | None = field(default=None, repr=False, compare=False)
    """The session that this connection's last request named, read anew for this one."""


@dataclass(frozen=True)
class Caller:
    """The sender of one request.

    The person is the session token's, else ``connection_user`` (who logged in on this connection), else,
    unless ``login_failed``, the key's service account. ``login_failed`` stays until a login on this
    connection is good.
    """

    key: CallerKey
    address: str
    session_token: str | None = field(default=None, repr=False)
    connection_user: str | None = None
    login_failed: bool = False
