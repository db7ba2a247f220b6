"""Hosts and the two levels of categories that they are found by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    RowMapping,
    Select,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from omserver_client.errors import BadRequest

from . import clock
from .jobs import Scope, parts
from .names import check_name, name_key
from .schema import connections, host_connections, server_app_categ, server_fun_categ, server_list

#: What divides the fields of a task string.
RESERVED = "*,@;"
#: Where a host can stand in its life.
STATES = ("new", "in_service", "maintenance", "retired")


def add_host(
    conn: Connection,
    name: str,
    *,
    wip: str = "",
    lip: str = "",
    os: str = "",
    app_id: int | None = None,
    state: str = "in_service",
) -> int:
    """Add a host and answer its id, which is never given to another.

    Raises:
        BadRequest: the name is taken or not acceptable.
    """
    check_name(name, "host", refused=RESERVED)
    if hosts_by_name(conn, [name]):
        raise BadRequest(f"There is a host {name!r} already.", field="host")
    row = {"server_name": name, "name_key": name_key(name), "server_wip": wip, "server_lip": lip}
    more = {"server_op": os, "server_app_id": app_id, "state": state}
    key = conn.execute(insert(server_list).values(**row, **more)).inserted_primary_key
    assert key is not None
    return int(key[0])


def hosts_by_id(conn: Connection, ids: Sequence[int], scope: Scope = None) -> dict[int, RowMapping]:
    """Those hosts of *ids* that there are (in *scope*), by id."""
    found: dict[int, RowMapping] = {}
    for part in parts(ids):
        rows = conn.execute(_narrowed(_BY_ID, scope), {"ids": part}).mappings()
        found.update((row["id"], row) for row in rows)
    return found


def hosts_by_name(conn: Connection, names: Iterable[str], scope: Scope = None) -> dict[str, RowMapping]:
    """Those hosts that there are (in *scope*), by `names.name_key` of their name."""
    found: dict[str, RowMapping] = {}
    for part in parts([name_key(name) for name in names]):
        rows = conn.execute(_narrowed(_BY_NAME, scope), {"keys": part}).mappings()
        found.update((name_key(row["name"]), row) for row in rows)
    return found


def list_hosts(
    conn: Connection,
    *,
    categ_id: int | None = None,
    app_id: int | None = None,
    search: str = "",
    connection: str | None = None,
    limit: int = 200,
    offset: int = 0,
    scope: Scope = None,
) -> tuple[list[RowMapping], int]:
    """Hosts by name, and how many there are in all; *search* looks into names and addresses,
    *connection* is the name of one of their ways.

    A row has the names of the wire: id, name, wip, lip, os, app_id, app, categ_id, categ, state, connection
    (its first one's name), last_seen.
    """
    wanted = [*_in_scope(scope)]
    if categ_id is not None:
        wanted.append(server_app_categ.c.server_categ_id == categ_id)
    if app_id is not None:
        wanted.append(server_list.c.server_app_id == app_id)
    if search:
        wanted.append(_holds(search))
    if connection is not None:
        wanted.append(server_list.c.ID.in_(_over(connection)))
    page = _hosts().where(*wanted).order_by(server_list.c.name_key).limit(limit).offset(offset)
    number = select(func.count()).select_from(_JOINED).where(*wanted)
    return list(conn.execute(page).mappings()), conn.execute(number).scalar_one()


def categories(conn: Connection, scope: Scope = None) -> list[dict[str, Any]]:
    """Function categories, their application categories, and how many hosts (in *scope*) each has."""
    apps: dict[int, list[dict[str, Any]]] = {}
    for row in conn.execute(_counted_apps(scope)):
        apps.setdefault(row.categ, []).append({"id": row.id, "name": row.name, "hosts": row.hosts})
    query = select(server_fun_categ.c.ID, server_fun_categ.c.server_categ_name).order_by(
        server_fun_categ.c.ID
    )
    return [_category(id_, name, apps.get(id_, [])) for id_, name in conn.execute(query)]


def add_category(conn: Connection, name: str) -> int:
    """The id of the function category called *name*, added if need be."""
    found = select(server_fun_categ.c.ID).where(server_fun_categ.c.server_categ_name == name)
    return _find_or_add(conn, found, insert(server_fun_categ).values(server_categ_name=name))


def add_app(conn: Connection, categ_id: int, name: str) -> int:
    """The id of the application category called *name* in a function category, added if need be."""
    same = server_app_categ.c.server_categ_id == categ_id, server_app_categ.c.app_categ_name == name
    row = {"server_categ_id": categ_id, "app_categ_name": name}
    return _find_or_add(
        conn, select(server_app_categ.c.ID).where(*same), insert(server_app_categ).values(row)
    )


def set_state(conn: Connection, host_id: int, state: str) -> None:
    """Put a host into another of `STATES`; a retired one is never run on."""
    this = server_list.c.ID.in_([host_id])
    conn.execute(update(server_list).where(this).values(state=state))


def note_seen(conn: Connection, host_ids: Sequence[int]) -> None:
    """These hosts answered just now."""
    for part in parts(host_ids):
        seen = update(server_list).where(server_list.c.ID.in_(part))
        conn.execute(seen.values(last_seen=clock.now(conn)))


def set_facts(conn: Connection, host_id: int, facts: dict[str, Any], os: str | None = None) -> None:
    """Keep what is known about a host (``os_family``, ...)."""
    changes: dict[str, Any] = {"facts": facts} if os is None else {"facts": facts, "server_op": os}
    conn.execute(update(server_list).where(server_list.c.ID.in_([host_id])).values(changes))


def labels_of(conn: Connection, host_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """The labels of these hosts by their ids."""
    found: dict[int, dict[str, str]] = {}
    for part in parts(host_ids):
        query = select(server_list.c.ID, server_list.c.labels).where(server_list.c.ID.in_(part))
        found.update((row[0], row[1] or {}) for row in conn.execute(query))
    return found


_JOINED = server_list.outerjoin(server_app_categ).outerjoin(server_fun_categ)


def _hosts() -> Select[Any]:
    first = (
        select(connections.c.name)
        .select_from(connections.join(host_connections))
        .where(host_connections.c.host_id == server_list.c.ID)
        .order_by(host_connections.c.position)
        .limit(1)
        .scalar_subquery()
    )
    return select(
        server_list.c.ID.label("id"),
        server_list.c.server_name.label("name"),
        server_list.c.server_wip.label("wip"),
        server_list.c.server_lip.label("lip"),
        server_list.c.server_op.label("os"),
        server_list.c.server_app_id.label("app_id"),
        server_app_categ.c.app_categ_name.label("app"),
        server_app_categ.c.server_categ_id.label("categ_id"),
        server_fun_categ.c.server_categ_name.label("categ"),
        server_list.c.state,
        server_list.c.facts,
        first.label("connection"),
        server_list.c.last_seen,
    ).select_from(_JOINED)


#: Made once: every new job asks this.
_BY_ID = _hosts().where(server_list.c.ID.in_(bindparam("ids", expanding=True)))
_BY_NAME = _hosts().where(server_list.c.name_key.in_(bindparam("keys", expanding=True)))


def _narrowed(query: Select[Any], scope: Scope) -> Select[Any]:
    return query if scope is None else query.where(*_in_scope(scope))


def _in_scope(scope: Scope) -> list[ColumnElement[bool]]:
    return [] if scope is None else [server_list.c.ID.in_(scope)]


def _over(connection: str) -> Select[Any]:
    joined = host_connections.join(connections)
    return select(host_connections.c.host_id).select_from(joined).where(connections.c.name == connection)


def _holds(search: str) -> ColumnElement[bool]:
    columns = server_list.c.name_key, server_list.c.server_wip, server_list.c.server_lip
    return or_(*(column.contains(name_key(search), autoescape=True) for column in columns))


def _counted_apps(scope: Scope) -> Select[Any]:
    theirs = server_list.c.server_app_id == server_app_categ.c.ID
    hosts = select(func.count()).where(theirs, *_in_scope(scope)).scalar_subquery()
    return select(
        server_app_categ.c.ID.label("id"),
        server_app_categ.c.server_categ_id.label("categ"),
        server_app_categ.c.app_categ_name.label("name"),
        hosts.label("hosts"),
    ).order_by(server_app_categ.c.ID)


def _category(id_: int, name: str, apps: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": id_, "name": name, "hosts": sum(app["hosts"] for app in apps), "apps": apps}


def _find_or_add(conn: Connection, found: Select[Any], added: Insert) -> int:
    id_ = conn.execute(found).scalar()
    if id_ is not None:
        return int(id_)
    key = conn.execute(added).inserted_primary_key
    assert key is not None
    return int(key[0])
