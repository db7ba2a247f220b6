"""Sessions, known by the SHA-256 of their token: a copy of the table opens nothing."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from . import clock
from .grants import DECIDES
from .schema import grants, sessions, users

#: Made once: every request asks this.
_ACTING = (
    select(sessions, users.c.name, users.c.disabled, *DECIDES, clock.utc_now().label("now"))
    .select_from(sessions.join(users).outerjoin(grants, grants.c.user_id == sessions.c.user_id))
    .where(sessions.c.token_hash == bindparam("hash"))
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
