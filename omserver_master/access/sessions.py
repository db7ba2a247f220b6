"""Logging in, and finding out who acts in a request."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, Engine, RowMapping

from omserver_client.errors import LoginFailed, LoginRequired, SessionExpired, Unavailable

from ..caller import Caller
from ..store import clock, users
from ..store import sessions as store
from ..store.engine import begin, look, read
from . import passwords
from .rights import Person, effective, granted, load_person
from .throttle import LoginThrottle

#: Seconds: without a request, and in all.
IDLE: Final = 30 * 60
ABSOLUTE: Final = 12 * 3600
#: The time of the last use is written at most this often, in seconds.
_TOUCH: Final = 60
#: Seconds that an ended session can still be told from one that never was.
_KEPT: Final = 7 * 24 * 3600


@dataclass(frozen=True)
class NewSession:
    """A session just opened. Nothing but its token opens it, and the token is not kept."""

    token: str = field(repr=False)
    expires_at: float
    idle_seconds: int


def check_login(
    engine: Engine, throttle: LoginThrottle, user: str, password: str, address: str
) -> RowMapping:
    """The account of *user*, if *password* is right.

    Raises:
        LoginFailed: it is not, or the account is disabled or does not exist; which of these is not said.
        TooMany: there were too many failures for this account or address.
    """
    throttle.enter(user, address)
    with read(engine) as conn:
        row = users.user_by_name(conn, user)
    good = passwords.matches(row["password"] if row else None, password)
    if not good or row is None or row["disabled"]:
        raise LoginFailed
    throttle.succeeded(user, address)
    if passwords.is_outdated(row["password"]):
        fresh = passwords.hash_password(password)
        with begin(engine) as conn:
            users.set_password(conn, row["id"], fresh)
    return row


def open_session(conn: Connection, user_id: int, key_kid: str, idle_seconds: int = IDLE) -> NewSession:
    """Open a session for somebody whose login was good; it is bound to the client key *key_kid*."""
    token = secrets.token_urlsafe(32)
    users.note_login(conn, user_id)
    store.forget_ended(conn, clock.now(conn) - _KEPT)
    ends = store.add_session(
        conn, hash_token(token), user_id, key_kid, idle_seconds=idle_seconds, absolute_seconds=ABSOLUTE
    )
    return NewSession(token, ends, idle_seconds)


def close_session(conn: Connection, token: str) -> None:
    """Log out."""
    store.revoke_session(conn, hash_token(token))


def who_acts(engine: Engine, caller: Caller) -> Person | None:
    """The person behind a request, with the rights that are left through the caller's key; None: nobody.

    The session's person comes first, then who logged in on the connection, then the key's service account.

    Raises:
        LoginRequired: the session is not one (any more), or the account was disabled.
        SessionExpired: the session is over.
        LoginFailed: the last login on this connection failed.
    """
    if caller.session_token is not None:
        return _of_session(engine, caller.session_token, caller)
    if caller.login_failed:
        raise LoginFailed
    with read(engine) as conn:
        row = _of_connection(conn, caller)
        if row is None:
            return None
        if row["disabled"]:
            raise LoginRequired("The account is disabled.")
        return effective(load_person(conn, row), caller.key.role_cap)


def hash_token(token: str) -> str:
    """What is stored of a session's token."""
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _of_session(engine: Engine, token: str, caller: Caller) -> Person:
    rows = _rows(engine, hash_token(token), caller)
    session = rows[0] if rows else None
    if session is None or session["revoked"] or session["key_kid"] != caller.key.kid:
        raise LoginRequired
    _refuse_expired(session, session["now"])
    if session["disabled"]:
        raise LoginRequired("The account is disabled.")
    grants = [row for row in rows if row["role"] is not None]
    person = granted(session["user_id"], session["name"], grants, session["expires_at"])
    if session["now"] - session["last_used"] > _TOUCH:
        with suppress(Unavailable), begin(engine) as conn:  # who only looks may do so with a full disk too
            store.touch_session(conn, session["token_hash"])
    return effective(person, caller.key.role_cap)


def _rows(engine: Engine, token_hash: str, caller: Caller) -> Sequence[RowMapping]:
    read_with_key = caller.key.acting
    if read_with_key is not None and read_with_key.token_hash == token_hash:
        return read_with_key.rows
    with look(engine) as conn:
        return store.acting(conn, token_hash)


def _refuse_expired(session: RowMapping, now: float) -> None:
    if now >= session["expires_at"] or now >= session["last_used"] + session["idle_seconds"]:
        raise SessionExpired


def _of_connection(conn: Connection, caller: Caller) -> RowMapping | None:
    if caller.connection_user is not None:
        return users.user_by_name(conn, caller.connection_user)
    if caller.key.service_user_id is not None:
        return users.user_by_id(conn, caller.key.service_user_id)
    return None
