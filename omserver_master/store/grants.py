"""Who may do what, where. Nothing is allowed that is not granted."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select

from omserver_client.errors import BadRequest

from . import clock
from .schema import grants, server_app_categ, server_fun_categ, server_list

#: From the least to the most.
ROLES: Final = ("viewer", "operator", "admin")

#: What of a grant decides what somebody may see and run.
DECIDES: Final = (grants.c.role, grants.c.module, grants.c.categ_id, grants.c.app_id, grants.c.host_id)

#: Made once: every request asks this.
_RIGHTS = select(*DECIDES).where(grants.c.user_id == bindparam("user")).order_by(grants.c.id)
_GRANTS = (
    select(
        grants,
        server_fun_categ.c.server_categ_name.label("categ"),
        server_app_categ.c.app_categ_name.label("app"),
        server_list.c.server_name.label("host"),
    )
    .outerjoin(server_fun_categ, grants.c.categ_id == server_fun_categ.c.ID)
    .outerjoin(server_app_categ, grants.c.app_id == server_app_categ.c.ID)
    .outerjoin(server_list, grants.c.host_id == server_list.c.ID)
    .where(grants.c.user_id == bindparam("user"))
    .order_by(grants.c.id)
)


def add_grant(
    conn: Connection,
    user_id: int,
    role: str,
    module: str = "*",
    *,
    categ_id: int | None = None,
    app_id: int | None = None,
    host_id: int | None = None,
) -> int:
    """Give *role* for *module* on one function category, one application category, one host, or everywhere.

    Raises:
        BadRequest: there is no such role, more than one place is named, or ``admin`` is narrowed.
    """
    if role not in ROLES:
        raise BadRequest(f"{role!r} is not a role: {', '.join(ROLES)}.", field="role")
    places = [place for place in (categ_id, app_id, host_id) if place is not None]
    if len(places) > 1:
        raise BadRequest("A grant is for one category or one host.", field="scope")
    if role == "admin" and (places or module != "*"):
        raise BadRequest("The role admin is for everything; it cannot be narrowed.", field="role")
    row = {"user_id": user_id, "role": role, "module": module, "created": clock.now(conn)}
    where = {"categ_id": categ_id, "app_id": app_id, "host_id": host_id}
    key = conn.execute(insert(grants).values(**row, **where)).inserted_primary_key
    assert key is not None
    return int(key[0])


def set_role(conn: Connection, user_id: int, role: str) -> None:
    """Make *role* what the account has on every host and module; grants for single places stay.

    Raises:
        BadRequest: there is no such role.
    """
    everywhere = grants.c.categ_id.is_(None), grants.c.app_id.is_(None), grants.c.host_id.is_(None)
    conn.execute(delete(grants).where(grants.c.user_id == user_id, grants.c.module == "*", *everywhere))
    add_grant(conn, user_id, role)


def grants_of(conn: Connection, user_id: int) -> list[RowMapping]:
    """The account's grants, with the names of their places as ``categ``, ``app`` and ``host``."""
    return list(conn.execute(_GRANTS, {"user": user_id}).mappings())


def rights_of(conn: Connection, user_id: int) -> list[RowMapping]:
    """Of each of the account's grants what `DECIDES`."""
    return list(conn.execute(_RIGHTS, {"user": user_id}).mappings())


def remove_grant(conn: Connection, grant_id: int) -> bool:
    """Take a grant back; whether there was one."""
    return conn.execute(delete(grants).where(grants.c.id == grant_id)).rowcount > 0
