"""Hosts added and changed one by one, and the order of the ways to them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, update

from omserver_client.errors import BadRequest, UnknownHost

from ..settings import PLATFORMS
from ..store import connections, hosts
from ..store.names import name_key
from ..store.schema import server_list
from .incoming import check_new_name
from .labels import read_labels, relabelled
from .ways import existing

Ways = list[tuple[int, str]]

#: A field of a host on the wire -> its column.
_COLUMNS = {"wip": "server_wip", "lip": "server_lip", "os": "server_op", "state": "state"}


def named(conn: Connection, names: Sequence[str]) -> list[RowMapping]:
    """The hosts of these names, in their order.

    Raises:
        UnknownHost: some are not there.
    """
    found = hosts.hosts_by_name(conn, names)
    unknown = [name for name in names if name_key(name) not in found]
    if unknown:
        raise UnknownHost(f"Not a host here: {', '.join(unknown[:5])}.", hosts=unknown)
    return [found[name_key(name)] for name in dict.fromkeys(names)]


def add_host(conn: Connection, name: str, values: Mapping[str, str], ways: Ways) -> int:
    """Add a host with its ways, and answer its id; *values* as of `change_hosts`.

    Raises:
        BadRequest: a value cannot be; ``field`` says which.
    """
    check_new_name(name)
    _check_values(values)
    place = _place(conn, values, None)
    plain = {key: values[key] for key in ("wip", "lip", "os", "state") if values.get(key)}
    host = hosts.add_host(conn, name, app_id=place, **plain)
    if values.get("os_family"):
        hosts.set_facts(conn, host, {"os_family": values["os_family"].lower()})
    if told := read_labels(values.get("labels", "")):
        _write(conn, host, {"labels": relabelled({}, told)})
    connections.set_routes(conn, host, ways)
    connections.check_remote_ids(conn, [way[0] for way in ways])
    return host


def change_hosts(conn: Connection, rows: Sequence[RowMapping], values: Mapping[str, str]) -> None:
    """Give hosts the *values*: ``wip lip os state categ app os_family labels``; ``name`` for a single one.

    Of their labels those that ``labels`` does not name stay.

    Raises:
        BadRequest: a value cannot be; ``field`` says which.
    """
    _check_values(values)
    told = read_labels(values.get("labels", ""))
    labels = hosts.labels_of(conn, [row["id"] for row in rows]) if told else {}
    for row in rows:
        written: dict[str, Any] = {
            column: values[field] for field, column in _COLUMNS.items() if field in values
        }
        if "categ" in values or "app" in values:
            written["server_app_id"] = _place(conn, values, row)
        if "os_family" in values:
            written["facts"] = {**(row["facts"] or {}), "os_family": values["os_family"].lower()}
        if told:
            written["labels"] = relabelled(labels[row["id"]], told)
        if written:
            _write(conn, row["id"], written)
    if "name" in values:
        _rename(conn, rows, values["name"])


def read_ways(conn: Connection, host: str, told: Sequence[tuple[str, str]]) -> Ways:
    """(connection id, id there) of (connection's name, id there); no id means the host's own name.

    Raises:
        BadRequest: there is no such connection, one is named twice, or an id cannot be.
    """
    ways = [(existing(conn, name)["id"], _remote_id(remote_id or host)) for name, remote_id in told]
    if len({way[0] for way in ways}) < len(ways):
        raise BadRequest("A host is reached over a connection once at most.", field="ways")
    return ways


def with_way(ways: Ways, way: tuple[int, str], place: int | None = None) -> Ways:
    """*ways* with *way* at a *place* (0: first; None: last, or where that connection is already)."""
    there = [connection for connection, _ in ways]
    if way[0] in there and place is None:
        return [way if each[0] == way[0] else each for each in ways]
    others = [each for each in ways if each[0] != way[0]]
    place = len(others) if place is None else place
    return [*others[:place], way, *others[place:]]


def moved(ways: Ways, connection_id: int, by: int) -> Ways:
    """*ways* with one of them moved up (*by* -1) or down."""
    place = next((number for number, way in enumerate(ways) if way[0] == connection_id), None)
    if place is None:
        return ways
    others = [way for way in ways if way[0] != connection_id]
    target = max(0, min(len(others), place + by))
    return [*others[:target], ways[place], *others[target:]]


def usual_connection(conn: Connection, platform: str) -> RowMapping:
    """The only enabled connection of the kind that AUTO_PLATFORM means.

    Raises:
        BadRequest: there is none, or more than one.
    """
    kind = PLATFORMS[platform]
    found = [row for row in connections.list_connections(conn) if row["kind"] == kind and row["enabled"]]
    if len(found) == 1:
        return found[0]
    names = ", ".join(row["name"] for row in found)
    number = f"{len(found)} connections" if found else "no connection"
    raise BadRequest(
        f"AUTO_PLATFORM is {platform}, and the site has {number} of the kind {kind}"
        f"{f' ({names})' if names else ''}: say which with --connection.",
        field="connection",
    )


def _write(conn: Connection, host_id: int, written: Mapping[str, Any]) -> None:
    this = server_list.c.ID.in_([host_id])
    conn.execute(update(server_list).where(this).values(written))


def _rename(conn: Connection, rows: Sequence[RowMapping], name: str) -> None:
    if len(rows) != 1:
        raise BadRequest("One host can be renamed at a time.", field="name")
    check_new_name(name)
    other = hosts.hosts_by_name(conn, [name]).get(name_key(name))
    if other is not None and other["id"] != rows[0]["id"]:
        raise BadRequest(f"There is a host {name!r} already.", field="name")
    this = server_list.c.ID.in_([rows[0]["id"]])
    conn.execute(update(server_list).where(this).values(server_name=name, name_key=name_key(name)))


def _place(conn: Connection, values: Mapping[str, str], row: RowMapping | None) -> int | None:
    """The application's id after *values*; None where there is none."""
    categ = values.get("categ", (row["categ"] if row else "") or "")
    app = values.get("app", (row["app"] if row else "") or "")
    if not categ and not app:
        return None
    if not (categ and app):
        field = "app" if categ else "categ"
        raise BadRequest("A category needs an application, and vice versa.", field=field)
    return hosts.add_app(conn, hosts.add_category(conn, categ), app)


def _check_values(values: Mapping[str, str]) -> None:
    for field in ("wip", "lip"):
        if values.get(field):
            _check_address(field, values[field])
    for field in ("os", "categ", "app", "os_family"):
        text = values.get(field, "")
        if len(text) > 255 or not text.isprintable():
            raise BadRequest(f"{field} must be up to 255 printable characters.", field=field)
    if values.get("state", "new") not in hosts.STATES:
        raise BadRequest(f"state must be one of {', '.join(hosts.STATES)}.", field="state")


def _check_address(field: str, text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise BadRequest(f"{text[:64]!r} is not an IP address.", field=field) from error


def _remote_id(text: str) -> str:
    if len(text) > 255 or not text.isprintable():
        raise BadRequest("The id of a host on a connection is 1 to 255 printable characters.", field="ways")
    return text
