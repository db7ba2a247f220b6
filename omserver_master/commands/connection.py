"""`omserver connection`: the ways to hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection, RowMapping

from ..backends import KINDS
from ..machines import serves
from ..roster import ways
from ..store import connections
from ..store.engine import begin, read
from .localsite import LocalSite, note, open_site, show_table

_secret = click.option(
    "--secret", "asked", multiple=True, metavar="NAME", help="Ask for a secret setting, which is never shown."
)
_secret_file = click.option(
    "--secret-file",
    "files",
    multiple=True,
    metavar="NAME=PATH",
    help="Read a secret setting from a file; - is standard input.",
)


_machine = click.option(
    "--machine", "machines", multiple=True, metavar="NAME", help="A machine whose workers serve it."
)
_any_machine = click.option("--any-machine", is_flag=True, help="Any machine serves it.")


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
@_secret
@_secret_file
@_machine
@_any_machine
def add(
    name: str,
    kind: str,
    settings: tuple[str, ...],
    asked: tuple[str, ...],
    files: tuple[str, ...],
    machines: tuple[str, ...],
    any_machine: bool,
) -> None:
    """Add the connection NAME, and say whether its control point answers.

    This machine serves it if its kind is local or salt, any machine if it is another, unless you say others.
    """
    named = _machines(machines, any_machine)
    values = _given(settings, asked, files)
    site = open_site()
    served = ways.usual_machines(kind, site.settings.machine) if named is None else named
    ways.check_new(kind, name, values, here=serves(site.settings.machine, served))
    with begin(site.engine) as conn:
        ways.add(conn, site.site_key, name, kind, values, served)
        note(conn, "connection.add", name, kind)
    click.echo(f"Added {name}.")
    _try(site, name)


@command.command("set")
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@_secret
@_secret_file
@_machine
@_any_machine
def set_(
    name: str,
    settings: tuple[str, ...],
    asked: tuple[str, ...],
    files: tuple[str, ...],
    machines: tuple[str, ...],
    any_machine: bool,
) -> None:
    """Change settings of the connection NAME, and say whether its control point answers.

    Those that are not named stay as they are; NAME= takes one back.
    """
    values = {key: value or None for key, value in _given(settings, asked, files).items()}
    named = _machines(machines, any_machine)
    if not values and named is None:
        raise click.UsageError("Say what to change.")
    site = open_site()
    with read(site.engine) as conn:
        row = _existing(conn, name)
    here = serves(site.settings.machine, row["machines"] if named is None else named)
    ways.check_change(site.site_key, row, values, here=here)
    with begin(site.engine) as conn:
        row = _existing(conn, name)
        ways.change(conn, site.site_key, row, values)
        told = sorted(values)
        if named is not None:
            ways.set_machines(conn, row, named)
            told.append(f"served by {', '.join(named) or 'any machine'}")
        note(conn, "connection.set", name, ", ".join(told))
    _try(site, name)


@command.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the connection NAME, which no host may use any more."""
    with begin(open_site().engine) as conn:
        row = _existing(conn, name)
        number = connections.hosts_over(conn, row["id"])
        if number:
            raise click.UsageError(f"{number} host(s) are reached over {name}; first: omserver host set")
        connections.remove_connection(conn, row["id"])
        note(conn, "connection.remove", name)
    click.echo(f"Removed {name}.")


@command.command("list")
def list_() -> None:
    """List all connections, with what was last seen of them."""
    with read(open_site().engine) as conn:
        found = connections.list_connections(conn)
    rows = [
        (
            row["name"],
            row["kind"],
            " ".join(row["machines"] or ["any"]),
            row["state"] if row["enabled"] else "disabled",
            row["reason"] or "-",
        )
        for row in found
    ]
    show_table(("CONNECTION", "KIND", "MACHINES", "STATE", "WHY"), rows)


@command.command("try")
@click.argument("name")
def try_(name: str) -> None:
    """Ask the control point of NAME whether it is there; exit 1 if it is not."""
    site = open_site()
    with read(site.engine) as conn:
        ways.check_here(_existing(conn, name), site.settings.machine, "connection")
    _try(site, name)


def _existing(conn: Connection, name: str) -> RowMapping:
    row = connections.connection_by_name(conn, name)
    if row is None:
        raise click.UsageError(f"There is no connection {name!r}.")
    return row


def _try(site: LocalSite, name: str) -> None:
    with read(site.engine) as conn:
        row = _existing(conn, name)
    if not serves(site.settings.machine, row["machines"]):
        click.echo(ways.elsewhere(name, row["machines"], site.settings.machine))
        return
    trial = ways.try_way(site.engine, site.site_key, row)
    if not trial.up:
        raise click.ClickException(f"{name} does not answer: {trial.reason}")
    click.echo(f"{name} answers.")


def _machines(named: tuple[str, ...], any_machine: bool) -> list[str] | None:
    """The machines that the options name: none of them, any; None, nothing was said."""
    if named and any_machine:
        raise click.UsageError("Either --machine or --any-machine.")
    return ways.read_machines(named) if named or any_machine else None


def _given(settings: tuple[str, ...], asked: tuple[str, ...], files: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = dict(_pair(text) for text in settings)
    for text in files:
        name, path = _pair(text)
        values[name] = (sys.stdin.read() if path == "-" else _text_of(Path(path))).rstrip("\r\n")
    return values | {name: click.prompt(name, hide_input=True) for name in asked}


def _text_of(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"A setting is written NAME=VALUE, not {text!r}.")
    return name, value
