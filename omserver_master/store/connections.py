"""Connections: named ways to reach hosts, and which hosts use which, in order."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from omserver_client.errors import BadRequest

from . import clock
from .jobs import parts
from .names import check_name
from .schema import connections, host_connections
from .sitekey import SiteKey

#: Made once: every new job asks this.
_ROUTES = (
    select(
        host_connections,
        *(connections.c[name] for name in ("name", "kind", "enabled", "state", "reason")),
    )
    .join_from(host_connections, connections)
    .where(host_connections.c.host_id.in_(bindparam("hosts", expanding=True)))
    .order_by(host_connections.c.host_id, host_connections.c.position)
)

#: Made once: every new job asks this.
_NAMED = select(connections.c.id, connections.c.machines).where(connections.c.machines.is_not(None))

#: Letters that mean something in a command line or an address where connections are named.
RESERVED = "/,="


def add_connection(
    conn: Connection, name: str, kind: str, settings: Mapping[str, Any], machines: Collection[str] = ()
) -> int:
    """Add a connection that *machines* serve, any if none are named, and answer its id.

    Raises:
        BadRequest: the name is taken or not acceptable.
    """
    check_name(name, "connection", refused=RESERVED)
    if connection_by_name(conn, name) is not None:
        raise BadRequest(f"There is a connection {name!r} already.", field="connection")
    row = {"name": name, "kind": kind, "settings": dict(settings), "machines": sorted(machines) or None}
    key = conn.execute(insert(connections).values(row)).inserted_primary_key
    assert key is not None
    return int(key[0])


def connection_by_name(conn: Connection, name: str) -> RowMapping | None:
    """The connection called *name*."""
    return conn.execute(select(connections).where(connections.c.name == name)).mappings().first()


def list_connections(conn: Connection) -> list[RowMapping]:
    """All connections by name, with what is known of their state."""
    return list(conn.execute(select(connections).order_by(connections.c.name)).mappings())


def set_settings(conn: Connection, connection_id: int, settings: Mapping[str, Any]) -> None:
    """Replace a connection's settings."""
    this = connections.c.id == connection_id
    conn.execute(update(connections).where(this).values(settings=dict(settings)))


def set_machines(conn: Connection, connection_id: int, machines: Collection[str]) -> None:
    """From now on these machines serve a connection; none named: any."""
    this = update(connections).where(connections.c.id == connection_id)
    conn.execute(this.values(machines=sorted(machines) or None, state="unknown", reason="", since=None))


def named_machines(conn: Connection) -> dict[int, frozenset[str]]:
    """The machines of each connection that names some, by its id."""
    return {row.id: frozenset(row.machines) for row in conn.execute(_NAMED)}


def set_secrets(conn: Connection, site_key: SiteKey, connection_id: int, secrets: Mapping[str, Any]) -> None:
    """Replace a connection's secret settings; they are stored encrypted."""
    sealed = site_key.seal_connection(json.dumps(dict(secrets)).encode(), connection_id) if secrets else None
    conn.execute(update(connections).where(connections.c.id == connection_id).values(secrets=sealed))


def secrets_of(site_key: SiteKey, row: Mapping[Any, Any]) -> dict[str, Any]:
    """The secret settings of a connection's *row*, in clear.

    Raises:
        SiteKeyError: they were sealed under another site key.
    """
    if not row["secrets"]:
        return {}
    return dict(json.loads(site_key.open_connection(row["secrets"], row["id"])))


def full_settings(site_key: SiteKey, row: Mapping[Any, Any]) -> dict[str, Any]:
    """All settings of a connection's *row* as its engine needs them, the secret ones in clear.

    Raises:
        SiteKeyError: they were sealed under another site key.
    """
    return {**row["settings"], **secrets_of(site_key, row)}


def set_enabled(conn: Connection, connection_id: int, enabled: bool) -> None:
    """Turn a connection on or off: nothing is sent over one that is off."""
    this = update(connections).where(connections.c.id == connection_id)
    conn.execute(this.values(enabled=enabled, state="unknown", reason="", since=None))


def rename(conn: Connection, connection_id: int, name: str) -> None:
    """Give a connection another name; what ran over it keeps the one of then.

    Raises:
        BadRequest: the name is taken or not acceptable.
    """
    check_name(name, "connection", refused=RESERVED)
    other = connection_by_name(conn, name)
    if other is not None and other["id"] != connection_id:
        raise BadRequest(f"There is a connection {name!r} already.", field="connection")
    conn.execute(update(connections).where(connections.c.id == connection_id).values(name=name))


def host_counts(conn: Connection) -> dict[int, int]:
    """How many hosts use each connection that has any, by its id."""
    query = select(host_connections.c.connection_id, func.count()).group_by(host_connections.c.connection_id)
    return {row[0]: row[1] for row in conn.execute(query)}


def hosts_of(conn: Connection, connection_id: int) -> list[int]:
    """The ids of the hosts that are reached over a connection."""
    mine = host_connections.c.connection_id == connection_id
    return list(conn.execute(select(host_connections.c.host_id).where(mine)).scalars())


def hosts_over(conn: Connection, connection_id: int) -> int:
    """How many hosts are reached over a connection."""
    mine = host_connections.c.connection_id == connection_id
    return conn.execute(select(func.count()).select_from(host_connections).where(mine)).scalar_one()


def remove_connection(conn: Connection, connection_id: int) -> None:
    """Forget a connection that no host uses; what ran over it keeps its name."""
    conn.execute(delete(connections).where(connections.c.id == connection_id))


def replace_routes(conn: Connection, host_id: int, connection_id: int, remote_id: str) -> None:
    """Let a host be reached over this connection only."""
    set_routes(conn, host_id, [(connection_id, remote_id)])
    check_remote_ids(conn, [connection_id])


def set_routes(conn: Connection, host_id: int, ways: Sequence[tuple[int, str]]) -> None:
    """Let a host be reached over these connections, each with the host's id there, in this order.

    Follow up with `check_remote_ids` when all is set.

    Raises:
        BadRequest: another host has such an id on that connection.
    """
    conn.execute(delete(host_connections).where(host_connections.c.host_id == host_id))
    for position, (connection_id, remote_id) in enumerate(ways):
        try:
            link_host(conn, host_id, connection_id, remote_id, position)
        except IntegrityError as error:
            raise _taken(remote_id) from error


def check_remote_ids(conn: Connection, connection_ids: Collection[int]) -> None:
    """Refuse two hosts whose ids on one of these connections differ in upper and lower case only.

    Raises:
        BadRequest: there are such.
    """
    table = host_connections.c
    same = table.connection_id, func.lower(table.remote_id)
    query = select(func.min(table.remote_id)).where(table.connection_id.in_(connection_ids)).group_by(*same)
    found = conn.execute(query.having(func.count() > 1).limit(1)).scalar()
    if found is not None:
        raise _taken(found)


def _taken(remote_id: str) -> BadRequest:
    text = f"Another host is known as {remote_id!r} on that connection (upper and lower case count as one)."
    return BadRequest(text, field="remote_id")


def note_state(conn: Connection, connection_id: int, state: str, reason: str = "") -> None:
    """The control point is ``up`` or ``down``, and why; ``since`` moves only when that changes."""
    other = connections.c.id == connection_id, connections.c.state != state
    conn.execute(update(connections).where(*other).values(state=state, since=clock.now(conn)))
    conn.execute(update(connections).where(connections.c.id == connection_id).values(reason=reason))


def link_host(conn: Connection, host_id: int, connection_id: int, remote_id: str, position: int = 0) -> None:
    """Let a host be reached over a connection, known there as *remote_id*; lower positions go first."""
    row = {"host_id": host_id, "connection_id": connection_id, "remote_id": remote_id, "position": position}
    conn.execute(insert(host_connections).values(row))


def routes(conn: Connection, host_ids: Sequence[int]) -> dict[int, list[RowMapping]]:
    """The ways to each host in order: ``connection_id``, ``name``, ``kind``, ``remote_id``, ``enabled``.

    The connection's ``state`` and ``reason`` are there, too.

    A host without any has an empty list.
    """
    found: dict[int, list[RowMapping]] = {host_id: [] for host_id in host_ids}
    for part in parts(host_ids):
        for row in conn.execute(_ROUTES, {"hosts": part}).mappings():
            found[row["host_id"]].append(row)
    return found
