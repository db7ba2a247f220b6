"""Who sent a request, as far as the wire can tell. Who that is allowed to be, access decides."""

from __future__ import annotations

from dataclasses import dataclass, field


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
