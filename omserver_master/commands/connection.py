"""`omserver connection`: the ways to hosts."""

from __future__ import annotations

import click

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
    try:
        make_backend(kind, name, values).close()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with begin(open_site().engine) as conn:
        connections.add_connection(conn, name, kind, values)
        note(conn, "connection.add", name, kind)
    _try(name, kind, values)


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
        row = connections.connection_by_name(conn, name)
    if row is None:
        raise click.UsageError(f"There is no connection {name!r}.")
    _try(name, row["kind"], row["settings"])


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
