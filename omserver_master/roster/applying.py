"""Carrying an import out: the hosts as they are now, and the writes of a plan, many rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from ..store import connections, hosts
from ..store.jobs import parts
from ..store.names import name_key
from ..store.schema import host_connections, server_app_categ, server_fun_categ, server_list
from .plan import HostNow, Plan, PlanRow, World

_FACTS = ("os_family", "osrelease")


def load_world(conn: Connection) -> World:
    """The hosts and connections that there are."""
    ways: dict[int, list[tuple[int, str]]] = {}
    table = host_connections.c
    for host_id, connection_id, remote_id in conn.execute(
        select(table.host_id, table.connection_id, table.remote_id).order_by(table.host_id, table.position)
    ):
        ways.setdefault(host_id, []).append((connection_id, remote_id))
    joined = server_list.outerjoin(server_app_categ).outerjoin(server_fun_categ)
    query = select(
        server_list, server_app_categ.c.app_categ_name, server_fun_categ.c.server_categ_name
    ).select_from(joined)
    found = {
        row["ID"]: HostNow(
            row["ID"],
            row["server_name"],
            row["server_wip"],
            row["server_lip"],
            row["server_op"],
            row["state"],
            row["facts"] or {},
            row["server_categ_name"] or "",
            row["app_categ_name"] or "",
            tuple(ways.get(row["ID"], ())),
        )
        for row in conn.execute(query).mappings()
    }
    return World(found, {row["name"]: row["id"] for row in connections.list_connections(conn)})


def carry_out(conn: Connection, plan: Plan, world: World) -> None:
    """Do what *plan* says about the hosts of *world*; both are of this transaction."""
    places = _Places(conn)
    _add([row for row in plan.rows if row.status == "new"], conn, places)
    _change([row for row in plan.rows if row.status == "changed"], conn, places, world)


class _Places:
    """Application categories by (function, application), each added when first needed."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._known: dict[tuple[str, str], int] = {}

    def id(self, categ: str, app: str) -> int | None:
        """The id of the application, None where there is none."""
        if not (categ and app):
            return None
        if (categ, app) not in self._known:
            category = hosts.add_category(self._conn, categ)
            self._known[categ, app] = hosts.add_app(self._conn, category, app)
        return self._known[categ, app]


def _add(rows: Sequence[PlanRow], conn: Connection, places: _Places) -> None:
    for part in parts(rows):
        conn.execute(insert(server_list), [_new_row(row, places) for row in part])
        keys = [name_key(row.name) for row in part]
        query = select(server_list.c.name_key, server_list.c.ID).where(server_list.c.name_key.in_(keys))
        ids = {row[0]: row[1] for row in conn.execute(query)}
        _link(conn, [(ids[name_key(row.name)], row, 0) for row in part])


def _new_row(row: PlanRow, places: _Places) -> dict[str, Any]:
    values = {change.field: change.new for change in row.changes}
    return {
        "server_name": row.name,
        "name_key": name_key(row.name),
        "server_wip": values.get("wip", ""),
        "server_lip": values.get("lip", ""),
        "server_op": values.get("os", ""),
        "server_app_id": places.id(values.get("categ", ""), values.get("app", "")),
        "state": values["state"],
        "labels": {},
        "facts": {name: values[name] for name in _FACTS if name in values},
    }


def _change(rows: Sequence[PlanRow], conn: Connection, places: _Places, world: World) -> None:
    this = server_list.c.ID.in_([bindparam("host")])
    written = (
        update(server_list)
        .where(this)
        .values(
            server_wip=bindparam("wip"),
            server_lip=bindparam("lip"),
            server_op=bindparam("os"),
            server_app_id=bindparam("app"),
            state=bindparam("new_state"),
            facts=bindparam("new_facts"),
        )
    )
    for part in parts(rows):
        told = [_changed(row, world.hosts[row.host_id or 0], places) for row in part]
        conn.execute(written, told)
        _link(conn, [(row.host_id or 0, row, len(world.hosts[row.host_id or 0].ways)) for row in part])
        _respell(conn, part)


def _changed(row: PlanRow, host: HostNow, places: _Places) -> dict[str, Any]:
    values = {change.field: change.new for change in row.changes}
    return {
        "host": host.id,
        "wip": values.get("wip", host.wip),
        "lip": values.get("lip", host.lip),
        "os": values.get("os", host.os),
        "app": places.id(values.get("categ", host.categ), values.get("app", host.app)),
        "new_state": values.get("state", host.state),
        "new_facts": {**host.facts, **{name: values[name] for name in _FACTS if name in values}},
    }


def _link(conn: Connection, rows: Iterable[tuple[int, PlanRow, int]]) -> None:
    """Add the new ways of hosts, each host's after those *behind* which it has already."""
    links = [
        {"host_id": host_id, "connection_id": connection, "remote_id": remote_id, "position": behind + number}
        for host_id, row, behind in rows
        for number, (connection, remote_id) in enumerate(row.add)
    ]
    _number_anew(conn, [host_id for host_id, row, behind in rows if row.add and behind])
    if links:
        conn.execute(insert(host_connections), links)


def _number_anew(conn: Connection, host_ids: Sequence[int]) -> None:
    """Let the ways of these hosts count from 0 without gaps, in the order that they are in."""
    table = host_connections.c
    for part in parts(host_ids):
        query = select(table.host_id, table.connection_id).where(table.host_id.in_(part))
        places: dict[int, int] = {}
        moved = []
        for host_id, connection_id in conn.execute(query.order_by(table.host_id, table.position)).all():
            place = places[host_id] = places.get(host_id, -1) + 1
            moved.append({"of_host": host_id, "over": connection_id, "place": place})
        this = (table.host_id == bindparam("of_host"), table.connection_id == bindparam("over"))
        conn.execute(update(host_connections).where(*this).values(position=bindparam("place")), moved)


def _respell(conn: Connection, rows: Iterable[PlanRow]) -> None:
    table = host_connections.c
    this = (table.host_id == bindparam("of_host"), table.connection_id == bindparam("over"))
    told = [
        {"of_host": row.host_id, "over": connection, "spelt": remote_id}
        for row in rows
        for connection, remote_id in row.respell
    ]
    if told:
        conn.execute(update(host_connections).where(*this).values(remote_id=bindparam("spelt")), told)
