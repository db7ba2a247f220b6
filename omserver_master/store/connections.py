"""Connections: named ways to reach hosts, and which hosts use which, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from omserver_client.errors import BadRequest

from . import clock
from .jobs import parts
from .names import check_name
from .schema import connections, host_connections


def add_connection(conn: Connection, name: str, kind: str, settings: Mapping[str, Any]) -> int:
    """Add a connection and answer its id.

    Raises:
        BadRequest: the name is taken or not acceptable.
    """
    check_name(name, "connection")
    if connection_by_name(conn, name) is not None:
        raise BadRequest(f"There is a connection {name!r} already.", field="connection")
    row = {"name": name, "kind": kind, "settings": dict(settings)}
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


def hosts_over(conn: Connection, connection_id: int) -> int:
    """How many hosts are reached over a connection."""
    mine = host_connections.c.connection_id == connection_id
    return conn.execute(select(func.count()).select_from(host_connections).where(mine)).scalar_one()


def remove_connection(conn: Connection, connection_id: int) -> None:
    """Forget a connection that no host uses; what ran over it keeps its name."""
    conn.execute(delete(connections).where(connections.c.id == connection_id))


def replace_routes(conn: Connection, host_id: int, connection_id: int, remote_id: str) -> None:
    """Let a host be reached over this connection only."""
    conn.execute(delete(host_connections).where(host_connections.c.host_id == host_id))
    link_host(conn, host_id, connection_id, remote_id)


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

    A host without any has an empty list.
    """
    found: dict[int, list[RowMapping]] = {host_id: [] for host_id in host_ids}
    for part in parts(host_ids):
        query = (
            select(host_connections, connections.c.name, connections.c.kind, connections.c.enabled)
            .join_from(host_connections, connections)
            .where(host_connections.c.host_id.in_(part))
            .order_by(host_connections.c.host_id, host_connections.c.position)
        )
        for row in conn.execute(query).mappings():
            found[row["host_id"]].append(row)
    return found
