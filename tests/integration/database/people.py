"""A small site for the tests: two categories, four hosts, some people."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from omserver_master.store import grants, hosts, users


class Small(NamedTuple):
    """The ids of what `furnish` made."""

    web: int
    db: int
    www: int
    shop: int
    mysql: int
    hosts: dict[str, int]


def furnish(conn: Connection) -> Small:
    web, db = hosts.add_category(conn, "Linux.Web"), hosts.add_category(conn, "Linux.Db")
    www, shop = hosts.add_app(conn, web, "www.domain.com"), hosts.add_app(conn, web, "shop.domain.com")
    mysql = hosts.add_app(conn, db, "db.domain.com")
    places = {"web-01": www, "web-02": www, "shop-01": shop, "db-01": mysql, "new-01": None}
    ids = {
        name: hosts.add_host(conn, name, wip=f"192.0.2.{number}", app_id=app)
        for number, (name, app) in enumerate(places.items(), 1)
    }
    return Small(web, db, www, shop, mysql, ids)


def add_person(conn: Connection, name: str, role: str | None = None, **grant: int | str) -> int:
    user_id = users.add_user(conn, name, "no password")
    if role:
        grants.add_grant(conn, user_id, role, **grant)  # type: ignore[arg-type]
    return user_id
