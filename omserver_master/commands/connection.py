"""`omserver connection`: the ways to hosts."""

from __future__ import annotations

import click
from sqlalchemy import Connection, RowMapping

from ..backends import KINDS, make_backend
from ..store import connections
from ..store.engine import begin, read
from .localsite import note, open_site, show_table


@click.group()
def command() -> None:
    """Add, list and try the ways to hosts."""


@command.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="The engine.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting of the engine: docs/backends.md.",
)
def add(name: str, kind: str, settings: tuple[str, ...]) -> None:
    """Add the connection NAME, and say whether its control point answers."""
    values = dict(_pair(text) for text in settings)
    _check(name, kind, values)
    with begin(open_site().engine) as conn:
        connections.add_connection(conn, name, kind, values)
        note(conn, "connection.add", name, kind)
    click.echo(f"Added {name}.")
    _try(name, kind, values)


@command.command("set")
@click.argument("name")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
def set_(name: str, settings: tuple[str, ...]) -> None:
    """Replace all settings of the connection NAME, and say whether its control point answers."""
    values = dict(_pair(text) for text in settings)
    with begin(open_site().engine) as conn:
        row = _existing(conn, name)
        _check(name, row["kind"], values)
        connections.set_settings(conn, row["id"], values)
        note(conn, "connection.set", name, ", ".join(sorted(values)))
    _try(name, row["kind"], values)


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the connection NAME, which no host may use any more."""
    with begin(open_site().engine) as conn:
        row = _existing(conn, name)
        number = connections.hosts_over(conn, row["id"])
        if number:
            raise click.UsageError(
                f"{number} host(s) are reached over {name}; first: omserver host set"
            )
        connections.remove_connection(conn, row["id"])
        note(conn, "connection.remove", name)
    click.echo(f"Removed {name}.")


@command.command("list")
def list_() -> None:
    """List all connections, with what the workers last saw of them."""
    with read(open_site().engine) as conn:
        found = connections.list_connections(conn)
    rows = [(row["name"], row["kind"], row["state"], row["reason"] or "-") for row in found]
    show_table(("CONNECTION", "KIND", "STATE", "WHY"), rows)


@command.command("try")
@click.argument("name")
def try_(name: str) -> None:
    """Ask the control point of NAME whether it is there; exit 1 if it is not."""
    with read(open_site().engine) as conn:
        row = _existing(conn, name)
    _try(name, row["kind"], row["settings"])


def _existing(conn: Connection, name: str) -> RowMapping:
    row = connections.connection_by_name(conn, name)
    if row is None:
        raise click.UsageError(f"There is no connection {name!r}.")
    return row


def _check(name: str, kind: str, values: dict[str, str]) -> None:
    try:
        make_backend(kind, name, values).close()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _try(name: str, kind: str, settings: dict[str, str]) -> None:
    backend = make_backend(kind, name, settings)
    try:
        found = backend.probe()
    finally:
        backend.close()
    if not found.up:
        raise click.ClickException(f"{name} does not answer: {found.reason}")
    click.echo(f"{name} answers.")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"A setting is written NAME=VALUE, not {text!r}.")
    return name, value
