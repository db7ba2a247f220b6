"""Hosts, the two categories that they are filed under, and the ways to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, RowMapping

from omserver_client.errors import BadRequest, NotFound
from omserver_master import audit
from omserver_master.access import rights
from omserver_master.jobs import reaching
from omserver_master.roster import edit
from omserver_master.roster.ways import existing
from omserver_master.store import connections, hosts
from omserver_master.store import engine as store

from . import views
from .context import Context
from .table import Args, Nothing, Number, operation

#: Names in an audit row.
_NAMED = 50


class ListHosts(Args):
    """Filters; each narrows the list."""

    categ_id: Number | None = None
    app_id: Number | None = None
    search: str = Field("", max_length=255)
    connection: str | None = Field(None, max_length=255)
    limit: int = Field(200, ge=1, le=5000)
    offset: Number = 0


class ShowHost(Args):
    host: str = Field(max_length=255)


class Way(Args):
    """A connection, and what it calls the host: its name, unless said."""

    connection: str = Field(max_length=255)
    remote_id: str = Field("", max_length=255)


class Values(Args):
    """What is known of a host; what is None stays as it is."""

    wip: str | None = Field(None, max_length=45)
    lip: str | None = Field(None, max_length=45)
    os: str | None = Field(None, max_length=255)
    os_family: str | None = Field(None, max_length=255)
    categ: str | None = Field(None, max_length=255)
    app: str | None = Field(None, max_length=255)
    state: str | None = Field(None, max_length=32)
    #: Like ``pair=db-a, rack=r3``; an empty value takes a label away, others stay.
    labels: str | None = Field(None, max_length=10_000)

    def values(self) -> dict[str, str]:
        """What was said, by name."""
        names = ("wip", "lip", "os", "os_family", "categ", "app", "state", "labels")
        told = {name: getattr(self, name) for name in names}
        return {name: value for name, value in told.items() if value is not None}


class AddHost(Values):
    """A new host; without *ways* it gets the site's usual connection."""

    host: str = Field(max_length=255)
    ways: list[Way] | None = Field(None, max_length=100)


class SetHosts(Values):
    """Values for one or many hosts; *name* renames a single one."""

    hosts: list[str] = Field(min_length=1, max_length=50_000)
    name: str | None = Field(None, max_length=255)


class SetWays(Args):
    """One change of the ways to one or many hosts: exactly one of the four.

    *ways* replaces all; *add* puts one at *place* (from 0; last if not said); *remove* takes one away; *move*
    moves one *by* so many places, up if negative.
    """

    hosts: list[str] = Field(min_length=1, max_length=50_000)
    ways: list[Way] | None = Field(None, max_length=100)
    add: Way | None = None
    place: Number | None = None
    remove: str | None = Field(None, max_length=255)
    move: str | None = Field(None, max_length=255)
    by: Literal[-1, 1] = -1


@operation("hosts.categories", role="viewer")
def categories(context: Context, args: Nothing) -> dict[str, Any]:
    """Function categories with their application categories, and how many visible hosts each has."""
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(context.who)
        return {"categories": hosts.categories(conn, scope)}


@operation("hosts.list", role="viewer")
def list_hosts(context: Context, args: ListHosts) -> dict[str, Any]:
    """Hosts that this person may see, by name."""
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(context.who)
        rows, total = hosts.list_hosts(conn, scope=scope, **args.model_dump())
    return {"hosts": [views.host(row) for row in rows], "total": total}


@operation("hosts.show", role="viewer")
def show_host(context: Context, args: ShowHost) -> dict[str, Any]:
    """One host with its facts and the ways to it, in their order."""
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(context.who)
        row = next(iter(hosts.hosts_by_name(conn, [args.host], scope).values()), None)
        if row is None:
            raise NotFound(f"There is no host {args.host!r}, or it may not be seen.")
        return _shown(conn, row)


@operation("hosts.add", role="admin")
def add_host(context: Context, args: AddHost) -> dict[str, Any]:
    """Add a host."""
    with store.begin(context.site.engine) as conn:
        if args.ways is None:
            usual = edit.usual_connection(conn, context.site.settings.auto_platform)
            ways = [(usual["id"], args.host)]
        else:
            ways = edit.read_ways(conn, args.host, _told(args.ways))
        edit.add_host(conn, args.host, args.values(), ways)
        row = edit.named(conn, [args.host])[0]
        answer = _shown(conn, row)
        over = ", ".join(f"{way['connection']} as {way['remote_id']}" for way in answer["ways"])
        audit.accepted(conn, context.caller, context.who, "hosts.add", args.host, over)
    return answer


@operation("hosts.set", role="admin")
def set_hosts(context: Context, args: SetHosts) -> dict[str, Any]:
    """Change what is known of hosts: all of them, or none."""
    values = args.values() | ({"name": args.name} if args.name is not None else {})
    if not values:
        raise BadRequest("Say what to change.", field="hosts")
    with store.begin(context.site.engine) as conn:
        rows = edit.named(conn, args.hosts)
        edit.change_hosts(conn, rows, values)
        told = ", ".join(f"{name} {value or '-'}" for name, value in sorted(values.items()))
        _note(context, conn, "hosts.set", rows, told)
    return {"changed": len(rows)}


@operation("hosts.ways", role="admin")
def set_ways(context: Context, args: SetWays) -> dict[str, Any]:
    """Change over which connections hosts are reached, and in which order: of all of them, or of none."""
    changes = [args.ways, args.add, args.remove, args.move]
    if sum(change is not None for change in changes) != 1:
        raise BadRequest("Say exactly one of ways, add, remove and move.", field="ways")
    with store.begin(context.site.engine) as conn:
        rows = edit.named(conn, args.hosts)
        before = connections.routes(conn, [row["id"] for row in rows])
        used: set[int] = set()
        for row in rows:
            ways = [(way["connection_id"], way["remote_id"]) for way in before[row["id"]]]
            ways = _changed(conn, row["name"], ways, args)
            connections.set_routes(conn, row["id"], ways)
            used.update(way[0] for way in ways)
        connections.check_remote_ids(conn, used)
        reaching.ways_changed(conn, [row["id"] for row in rows])
        _note(context, conn, "hosts.ways", rows, _words(args))
    return {"changed": len(rows)}


def _changed(conn: Connection, host: str, ways: edit.Ways, args: SetWays) -> edit.Ways:
    if args.ways is not None:
        return edit.read_ways(conn, host, _told(args.ways))
    if args.add is not None:
        (way,) = edit.read_ways(conn, host, _told([args.add]))
        there = dict(ways)
        if way[0] in there and not args.add.remote_id:
            way = (way[0], there[way[0]])
        return edit.with_way(ways, way, args.place)
    if args.remove is not None:
        gone = existing(conn, args.remove)["id"]
        return [way for way in ways if way[0] != gone]
    assert args.move is not None
    return edit.moved(ways, existing(conn, args.move)["id"], args.by)


def _words(args: SetWays) -> str:
    if args.ways is not None:
        return f"now {', '.join(way.connection for way in args.ways) or 'none'}"
    if args.add is not None:
        return f"{args.add.connection} added"
    if args.remove is not None:
        return f"{args.remove} removed"
    return f"{args.move} {'up' if args.by < 0 else 'down'}"


def _told(ways: list[Way]) -> list[tuple[str, str]]:
    return [(way.connection, way.remote_id) for way in ways]


def _note(context: Context, conn: Connection, action: str, rows: list[RowMapping], detail: str) -> None:
    target = rows[0]["name"] if len(rows) == 1 else f"{len(rows)} hosts"
    if len(rows) > 1:
        detail = f"{detail}: {', '.join(row['name'] for row in rows[:_NAMED])}"
    audit.accepted(conn, context.caller, context.who, action, target, detail)


def _shown(conn: Connection, row: RowMapping) -> dict[str, Any]:
    ways = [
        {
            "connection": way["name"],
            "kind": way["kind"],
            "remote_id": way["remote_id"],
            "state": way["state"] if way["enabled"] else "disabled",
            "reason": way["reason"],
        }
        for way in connections.routes(conn, [row["id"]])[row["id"]]
    ]
    labels = hosts.labels_of(conn, [row["id"]])[row["id"]]
    return views.host(row) | {"facts": row["facts"] or {}, "labels": labels, "ways": ways}
