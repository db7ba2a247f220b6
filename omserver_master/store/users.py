"""People, and the accounts that programs act as."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from omserver_client.errors import BadRequest

from . import clock
from .names import check_name, name_key
from .schema import users

#: Made once: every request asks this.
_USER = select(users).where(users.c.id == bindparam("user"))
_NAMED = select(users).where(users.c.name_key == bindparam("key"))


def add_user(conn: Connection, name: str, password_hash: str, lang: str = "") -> int:
    """Add an account and answer its id. It may do nothing until it is granted something.

    Raises:
        BadRequest: the name is taken or not acceptable.
    """
    check_name(name, "user")
    if user_by_name(conn, name) is not None:
        raise BadRequest(f"There is a user {name!r} already.", field="user")
    row = {"name": name, "name_key": name_key(name), "password": password_hash, "lang": lang}
    key = conn.execute(insert(users).values(**row, created=clock.now(conn))).inserted_primary_key
    assert key is not None
    return int(key[0])


def user_by_name(conn: Connection, name: str) -> RowMapping | None:
    """The account called *name*, whatever the case."""
    return conn.execute(_NAMED, {"key": name_key(name)}).mappings().first()


def user_by_id(conn: Connection, user_id: int) -> RowMapping | None:
    """The account with that id."""
    return conn.execute(_USER, {"user": user_id}).mappings().first()


def list_users(conn: Connection) -> list[RowMapping]:
    """All accounts by name."""
    return list(conn.execute(select(users).order_by(users.c.name_key)).mappings())


def set_password(conn: Connection, user_id: int, password_hash: str) -> None:
    """Replace the password's hash. Its sessions live on: see `sessions.revoke_all`."""
    conn.execute(update(users).where(users.c.id == user_id).values(password=password_hash))


def set_disabled(conn: Connection, user_id: int, disabled: bool) -> None:
    """A disabled account can neither log in nor go on with what it has open."""
    conn.execute(update(users).where(users.c.id == user_id).values(disabled=disabled))


def note_login(conn: Connection, user_id: int) -> None:
    """Remember when the account logged in last."""
    conn.execute(update(users).where(users.c.id == user_id).values(last_login=clock.now(conn)))
