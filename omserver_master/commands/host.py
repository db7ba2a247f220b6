"""`omserver host`: the hosts that modules run on."""

from __future__ import annotations

import click
from sqlalchemy import RowMapping

from omserver_client.errors import BadRequest

from ..roster import edit
from ..roster.ways import existing
from ..store import connections, hosts
from ..store.engine import begin, read
from .localsite import note, open_site, show_table


@click.group()
def command() -> None:
    """Add, change and list hosts."""


@command.command()
@click.argument("name")
@click.option(
    "--connection",
    metavar="NAME",
    help="The way to it: `omserver connection`; default: the only one of the kind that AUTO_PLATFORM names.",
)
@click.option(
    "--remote-id", metavar="ID", help="What the engine calls it (a Salt minion id); default: its name."
)
@click.option("--inner-ip", default="", help="Its inner address.")
@click.option("--outer-ip", default="", help="Its outer address.")
@click.option("--os", "os_name", default="", help="Its operating system, in words.")
@click.option("--os-family", default="", metavar="debian|redhat|...", help="For modules that differ by it.")
@click.option("--categ", default="Linux.Web", show_default=True, help="Function category; added if need be.")
@click.option("--app", default="www.domain.com", show_default=True, help="Application category in it.")
def add(
    name: str,
    connection: str | None,
    remote_id: str | None,
    inner_ip: str,
    outer_ip: str,
    os_name: str,
    os_family: str,
    categ: str,
    app: str,
) -> None:
    """Add the host NAME."""
    site = open_site()
    with begin(site.engine) as conn:
        way = (
            existing(conn, connection)
            if connection
            else edit.usual_connection(conn, site.settings.auto_platform)
        )
        values = {"wip": outer_ip, "lip": inner_ip, "os": os_name, "os_family": os_family}
        edit.add_host(conn, name, {**values, "categ": categ, "app": app}, [(way["id"], remote_id or name)])
        note(conn, "host.add", name, f"connection {way['name']}, id there {remote_id or name}")
    click.echo(f"Added {name}: {categ} / {app}, over {way['name']} as {remote_id or name}.")


@command.command("set")
@click.argument("name")
@click.option("--state", type=click.Choice(hosts.STATES), help="A retired host is never run on.")
@click.option("--connection", metavar="NAME", help="Reach it over this connection only.")
@click.option("--remote-id", metavar="ID", help="What the engine calls it there; default: its name.")
def set_(name: str, state: str | None, connection: str | None, remote_id: str | None) -> None:
    """Change the host NAME."""
    if not (state or connection):
        raise click.UsageError("Say what to change: --state or --connection.")
    with begin(open_site().engine) as conn:
        host = hosts.hosts_by_name(conn, [name]).get(name.lower())
        if host is None:
            raise BadRequest(f"There is no host {name!r}.", field="host")
        if state:
            hosts.set_state(conn, host["id"], state)
        if connection:
            way = existing(conn, connection)
            connections.replace_routes(conn, host["id"], way["id"], remote_id or host["name"])
        note(conn, "host.set", name, f"state {state or 'as it was'}, connection {connection or 'as it was'}")
    click.echo(f"Changed {name}.")


@command.command("list")
@click.option("--search", default="", help="Part of a name or an address.")
def list_(search: str) -> None:
    """List hosts by name."""
    with read(open_site().engine) as conn:
        found, _ = hosts.list_hosts(conn, search=search, limit=100_000)
    show_table(
        ("HOST", "ADDRESS", "FUNCTION", "APPLICATION", "CONNECTION", "STATE"), [_line(h) for h in found]
    )


def _line(host: RowMapping) -> tuple[object, ...]:
    address = host["lip"] or host["wip"] or "-"
    return host["name"], address, host["categ"], host["app"], host["connection"] or "-", host["state"]
