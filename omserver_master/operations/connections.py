"""The ways to reach hosts: added, changed, tried, turned off, removed. Secrets go in and never come out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, RowMapping

from omserver_client.errors import BadRequest, NotFound
from omserver_master import audit, machines
from omserver_master.backends import KINDS, Target, settings_of
from omserver_master.roster import ways
from omserver_master.store import connections, hosts
from omserver_master.store import engine as store

from .context import Context
from .table import Args, Nothing, operation

Name = Field(min_length=1, max_length=255)


class ConnectionName(Args):
    """One connection by its name."""

    connection: str = Name


class AddConnection(Args):
    """A new connection; secret settings stand among the others.

    *machines* serve it: ``[]`` any, None what is usual for its kind.
    """

    connection: str = Name
    kind: str = Field(max_length=32)
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    machines: list[str] | None = Field(None, max_length=100)


class SetConnection(ConnectionName):
    """Changes: settings that are not named stay as they are, and so do *machines* if None."""

    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    machines: list[str] | None = Field(None, max_length=100)


class RenameConnection(ConnectionName):
    name: str = Name


class TryConnection(ConnectionName):
    host: str | None = Field(None, max_length=255)


@operation("connections.kinds", role="viewer")
def kinds(context: Context, args: Nothing) -> dict[str, Any]:
    """The kinds of connection that there are, and what can be set of each."""
    return {"kinds": ways.kinds(context.site.settings.machine)}


@operation("connections.list", role="admin")
def list_connections(context: Context, args: Nothing) -> dict[str, Any]:
    """All connections by name, with their open settings and the names of the secret ones that are set."""
    with store.read(context.site.engine) as conn:
        counts = connections.host_counts(conn)
        rows = connections.list_connections(conn)
    return {"connections": [_connection(context, row, counts.get(row["id"], 0)) for row in rows]}


@operation("connections.show", role="admin")
def show_connection(context: Context, args: ConnectionName) -> dict[str, Any]:
    """One connection."""
    return _shown(context, args.connection)


@operation("connections.add", role="admin")
def add_connection(context: Context, args: AddConnection) -> dict[str, Any]:
    """Add a connection. Whether its control point is up is for ``connections.try`` to say."""
    site = context.site
    usual = ways.usual_machines(args.kind, site.settings.machine)
    served = usual if args.machines is None else ways.read_machines(args.machines)
    ways.check_new(args.kind, args.connection, args.settings, here=_here(context, served))
    with store.begin(site.engine) as conn:
        ways.add(conn, site.site_key, args.connection, args.kind, args.settings, served)
        told = f"{args.kind}, served by {', '.join(served)}" if served else args.kind
        _note(context, conn, "connections.add", args.connection, told)
    return _shown(context, args.connection)


@operation("connections.set", role="admin")
def set_connection(context: Context, args: SetConnection) -> dict[str, Any]:
    """Change settings; ``null`` takes one back, and an empty text too, but leaves a secret as it is.

    Jobs that wait follow a change of the machines.
    """
    site = context.site
    served = None if args.machines is None else ways.read_machines(args.machines)
    with store.read(site.engine) as conn:
        row = _existing(conn, args.connection)
    here = _here(context, row["machines"] if served is None else served)
    ways.check_change(site.site_key, row, args.settings, here=here)
    store.transact(site.engine, lambda conn: _change(context, conn, args, served))
    site.ring()
    return _shown(context, args.connection)


def _change(context: Context, conn: Connection, args: SetConnection, served: list[str] | None) -> None:
    row = _existing(conn, args.connection)
    if args.settings or served is None:
        ways.change(conn, context.site.site_key, row, args.settings)
    changed = sorted(args.settings)
    if served is not None and served != (row["machines"] or []):
        ways.set_machines(conn, row, served)
        changed.append(f"served by {', '.join(served) or 'any machine'}")
    _note(context, conn, "connections.set", args.connection, ", ".join(changed))


@operation("connections.rename", role="admin")
def rename_connection(context: Context, args: RenameConnection) -> dict[str, Any]:
    """Give a connection another name; results of the past keep the one of then."""
    with store.begin(context.site.engine) as conn:
        row = _existing(conn, args.connection)
        connections.rename(conn, row["id"], args.name)
        _note(context, conn, "connections.rename", args.connection, f"now {args.name}")
    return _shown(context, args.name)


@operation("connections.enable", role="admin")
def enable_connection(context: Context, args: ConnectionName) -> dict[str, Any]:
    """Turn a connection on."""
    return _turn(context, args.connection, True)


@operation("connections.disable", role="admin")
def disable_connection(context: Context, args: ConnectionName) -> dict[str, Any]:
    """Turn a connection off: hosts are reached over their next one, or wait."""
    return _turn(context, args.connection, False)


@operation("connections.remove", role="admin")
def remove_connection(context: Context, args: ConnectionName) -> dict[str, Any]:
    """Remove a connection that no host uses any more."""
    with store.begin(context.site.engine) as conn:
        row = _existing(conn, args.connection)
        number = connections.hosts_over(conn, row["id"])
        if number:
            raise BadRequest(in_use(args.connection, number), field="connection", hosts=number)
        connections.remove_connection(conn, row["id"])
        _note(context, conn, "connections.remove", args.connection, row["kind"])
    return {}


@operation("connections.try", role="admin")
def try_connection(context: Context, args: TryConnection) -> dict[str, Any]:
    """Ask the control point whether it is up; perhaps one host, too, which runs ``true``."""
    site = context.site
    with store.read(site.engine) as conn:
        row = _existing(conn, args.connection)
        ways.check_here(row, site.settings.machine, "connection")
        host = _target(conn, row, args.host) if args.host else None
    with store.begin(site.engine) as conn:
        _note(context, conn, "connections.try", args.connection, f"host {args.host}" if args.host else "")
    return asdict(ways.try_way(site.engine, site.site_key, row, host))


def in_use(name: str, number: int) -> str:
    """Why the connection *name* cannot be removed."""
    hosts_are = "1 host is" if number == 1 else f"{number} hosts are"
    return f"{hosts_are} reached over {name}; take this way from them first."


def _target(conn: Connection, row: RowMapping, name: str) -> Target:
    host = next(iter(hosts.hosts_by_name(conn, [name]).values()), None)
    if host is None:
        raise NotFound(f"There is no host {name!r}.")
    for way in connections.routes(conn, [host["id"]])[host["id"]]:
        if way["connection_id"] == row["id"]:
            address = host["lip"] or host["wip"]
            return Target(str(host["id"]), host["name"], way["remote_id"], address)
    raise BadRequest(f"{host['name']} is not reached over {row['name']}.", field="host")


def _turn(context: Context, name: str, enabled: bool) -> dict[str, Any]:
    store.transact(context.site.engine, lambda conn: _turned(context, conn, name, enabled))
    context.site.ring()
    return _shown(context, name)


def _turned(context: Context, conn: Connection, name: str, enabled: bool) -> None:
    row = _existing(conn, name)
    connections.set_enabled(conn, row["id"], enabled)
    ways.changed(conn, row["id"])
    _note(context, conn, "connections.enable" if enabled else "connections.disable", name)


def _here(context: Context, served: list[str] | None) -> bool:
    """Whether this machine is one of those that serve a connection."""
    return machines.serves(context.site.settings.machine, served)


def _shown(context: Context, name: str) -> dict[str, Any]:
    with store.read(context.site.engine) as conn:
        row = _existing(conn, name)
        return _connection(context, row, connections.hosts_over(conn, row["id"]))


def _existing(conn: Connection, name: str) -> RowMapping:
    row = connections.connection_by_name(conn, name)
    if row is None:
        raise NotFound(f"There is no connection {name!r}.")
    return row


def _connection(context: Context, row: RowMapping, number: int) -> dict[str, Any]:
    plain = {name: row[name] for name in ("id", "name", "kind", "enabled", "reason", "since")}
    state = row["state"] if row["enabled"] else "disabled"
    secrets = sorted(ways.openable_secrets(context.site.site_key, row))
    return {
        **plain,
        "state": state,
        "settings": _open(row),
        "secrets": secrets,
        "hosts": number,
        "machines": row["machines"] or [],
        "here": _here(context, row["machines"]),
    }


def _open(row: RowMapping) -> dict[str, Any]:
    """The settings that may be shown: a site of an earlier version may hold a secret among the open ones."""
    if row["kind"] not in KINDS:
        return dict(row["settings"])
    hidden = {setting.name for setting in settings_of(row["kind"]) if setting.secret}
    return {name: value for name, value in row["settings"].items() if name not in hidden}


def _note(context: Context, conn: Connection, action: str, target: str, detail: str = "") -> None:
    audit.accepted(conn, context.caller, context.who, action, target, detail)
