"""Sessions, known by the SHA-256 of their token: a copy of the table opens nothing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, insert, select, update

from . import clock
from .grants import DECIDES
from .schema import client_keys, grants, sessions, users

#: Made once: every request asks this.
_WHOSE = sessions, users.c.name, users.c.disabled, *DECIDES, clock.utc_now().label("now")
_THIS = sessions.c.token_hash == bindparam("hash")
_GRANTED = grants.c.user_id == sessions.c.user_id
_ACTING = (
    select(*_WHOSE)
    .select_from(sessions.join(users).outerjoin(grants, _GRANTED))
    .where(_THIS)
    .order_by(grants.c.id)
)
#: The same beside a key, whose columns are called ``its_...``; without the session where there is none.
_KEY_AND_ACTING = (
    select(*(column.label(f"its_{column.name}") for column in client_keys.c), *_WHOSE)
    .select_from(
        client_keys.outerjoin(
            sessions.join(users), and_(_THIS, sessions.c.key_kid == client_keys.c.kid)
        ).outerjoin(grants, _GRANTED)
    )
    .where(client_keys.c.kid == bindparam("kid"))
    .order_by(grants.c.id)
)


def add_session(
    conn: Connection,
    token_hash: str,
    user_id: int,
    key_kid: str,
    *,
    idle_seconds: int,
    absolute_seconds: int,
) -> float:
    """Add a session that begins now; answer when it ends at the latest."""
    now = clock.now(conn)
    ends = now + absolute_seconds
    row = {"token_hash": token_hash, "user_id": user_id, "key_kid": key_kid, "idle_seconds": idle_seconds}
    conn.execute(insert(sessions).values(**row, created=now, last_used=now, expires_at=ends))
    return ends


def acting(conn: Connection, token_hash: str) -> list[RowMapping]:
    """The session with that hash, revoked and expired ones too, once for each grant of its account.

    A row has the session's columns, the account's ``name`` and ``disabled``, what of the grant decides
    (nothing, where there is none), and the time as ``now``.
    """
    return list(conn.execute(_ACTING, {"hash": token_hash}).mappings())


def key_and_acting(
    conn: Connection, kid: str, token_hash: str
) -> tuple[dict[str, Any] | None, list[RowMapping]]:
    """The key *kid*, revoked or not, or None; and what `acting` says of a session of its: in one go."""
    rows = list(conn.execute(_KEY_AND_ACTING, {"kid": kid, "hash": token_hash}).mappings())
    if not rows:
        return None, []
    key = {column.name: rows[0][f"its_{column.name}"] for column in client_keys.c}
    return key, rows if rows[0]["token_hash"] is not None else []


def touch_session(conn: Connection, token_hash: str) -> None:
    """The session was used just now."""
    this = sessions.c.token_hash == token_hash
    conn.execute(update(sessions).where(this).values(last_used=clock.now(conn)))


def revoke_session(conn: Connection, token_hash: str) -> None:
    """End one session."""
    conn.execute(update(sessions).where(sessions.c.token_hash == token_hash).values(revoked=True))


def revoke_all(conn: Connection, user_id: int, *, but: str = "") -> None:
    """End all sessions of an account, except the one with the hash *but*."""
    theirs = sessions.c.user_id == user_id, sessions.c.token_hash != but
    conn.execute(update(sessions).where(*theirs).values(revoked=True))


def forget_ended(conn: Connection, older_than: float) -> int:
    """Delete sessions that ended before *older_than* (unix seconds); how many there were."""
    return conn.execute(delete(sessions).where(sessions.c.expires_at < older_than)).rowcount
