"""Client keys: one per program, its secret encrypted with the site key."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from omserver_client.errors import BadRequest

from . import clock
from .schema import client_keys, users

#: Made once: every request asks this.
_KEY = select(client_keys).where(client_keys.c.kid == bindparam("kid"))


def add_key(
    conn: Connection, kid: str, name: str, role_cap: str, service_user_id: int | None, sealed: bytes
) -> None:
    """Add an active key whose secret is *sealed*.

    Raises:
        BadRequest: the name is taken. Names of revoked keys are not given again: history shows them.
    """
    if conn.execute(select(client_keys.c.kid).where(client_keys.c.name == name)).first():
        raise BadRequest(f"There is a key {name!r} already.", field="name")
    row = {"kid": kid, "name": name, "role_cap": role_cap, "service_user_id": service_user_id}
    conn.execute(insert(client_keys).values(**row, secret=sealed, created=clock.now(conn)))


def key_row(conn: Connection, kid: str) -> RowMapping | None:
    """The key with that number, revoked or not."""
    return conn.execute(_KEY, {"kid": kid}).mappings().first()


def list_keys(conn: Connection) -> list[RowMapping]:
    """All keys by name, without their secrets, with the name of the service account as ``service_user``."""
    columns = [column for column in client_keys.c if column.name != "secret"]
    query = (
        select(*columns, users.c.name.label("service_user"))
        .outerjoin(users, users.c.id == client_keys.c.service_user_id)
        .order_by(client_keys.c.name)
    )
    return list(conn.execute(query).mappings())


def revoke_key(conn: Connection, name: str) -> bool:
    """End the key called *name*; whether there was an active one."""
    active = client_keys.c.name == name, client_keys.c.state == "active"
    return conn.execute(update(client_keys).where(*active).values(state="revoked")).rowcount > 0


def note_key_used(conn: Connection, kid: str) -> None:
    """The key was used just now."""
    conn.execute(update(client_keys).where(client_keys.c.kid == kid).values(last_used=clock.now(conn)))
