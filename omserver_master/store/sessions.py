"""Sessions, known by the SHA-256 of their token: a copy of the table opens nothing."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from . import clock
from .schema import sessions

#: Made once: every request asks this.
_SESSION = select(sessions).where(sessions.c.token_hash == bindparam("hash"))


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


def session_row(conn: Connection, token_hash: str) -> RowMapping | None:
    """The session with that hash, revoked and expired ones too."""
    return conn.execute(_SESSION, {"hash": token_hash}).mappings().first()


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
