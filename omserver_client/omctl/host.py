"""``omctl host``: one host after the other, the ways to them, and imports."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..client import Client
from ..errors import PreviewOutdated
from . import ends
from .connection import master
from .hosts import hosts as list_hosts
from .show import Command, json_option, local_time, print_error, print_json, print_table
from .visible import visible_line

STATES = ("new", "in_service", "maintenance", "retired")
#: A file that is longer does not fit into a message.
_LONGEST_FILE = 5_000_000
_PAGE = 5000


def _values(command: Command) -> Command:
    """Give *command* the options for what is known of a host."""
    for name, text in (
        ("--os-family", "debian, redhat, ...: for modules that differ by it."),
        ("--os", "Its operating system, in words."),
        ("--outer-ip", "Its outer address."),
        ("--inner-ip", "Its inner address."),
        ("--app", "Application category; added if need be."),
        ("--category", "Function category; added if need be."),
    ):
        command = click.option(name, help=text)(command)
    label = "A label of the site's own; once for each. NAME= takes it away, others stay."
    command = click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help=label)(command)
    return click.option("--state", type=click.Choice(STATES), help="A retired host is never run on.")(command)


@click.group("host")
def host() -> None:
    """Show, add and change hosts, the ways to them, and import them."""


host.add_command(list_hosts, "list")


@host.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the host NAME and the ways to it, in their order."""
    with master() as client:
        found = client.host(name)
    if as_json:
        print_json(found)
        return
    told = ("name", "lip", "wip", "os", "categ", "app", "state")
    rows: list[tuple[str, object]] = [(word, found[word]) for word in told if found[word]]
    rows += sorted((name, value) for name, value in found["facts"].items())
    rows += sorted((f"label {name}", value) for name, value in found.get("labels", {}).items())
    rows.append(("last seen", local_time(found["last_seen"])))
    print_table(("what", "value"), rows)
    for number, way in enumerate(found["ways"], start=1):
        why = f" ({visible_line(way['reason'])})" if way["reason"] else ""
        over, known = visible_line(way["connection"]), visible_line(way["remote_id"])
        click.echo(f"way {number}: {over} as {known}, {way['state']}{why}")
    if not found["ways"]:
        click.echo("It has no way: omctl host ways NAME --add CONNECTION")


@host.command()
@click.argument("name")
@click.option("--connection", metavar="NAME", help="The way to it; default: the site's usual one.")
@click.option("--remote-id", default="", metavar="ID", help="What the engine calls it; default: its name.")
@_values
@json_option
def add(name: str, connection: str | None, remote_id: str, as_json: bool, **values: Any) -> None:
    """Add the host NAME."""
    ways = [{"connection": connection, "remote_id": remote_id}] if connection else None
    if remote_id and not connection:
        raise click.UsageError("--remote-id needs --connection.")
    with master() as client:
        added = client.add_host(name, ways, **_wire(values))
    if as_json:
        print_json(added)
    else:
        click.echo(f"Added {visible_line(name)}, over {_over(added['ways'])}.")


@host.command("set")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--rename", metavar="NAME", help="Give one host another name.")
@_values
@json_option
def set_(names: tuple[str, ...], rename: str | None, as_json: bool, **values: Any) -> None:
    """Change what is known of the hosts NAME: of all of them, or of none."""
    told = _wire(values) | ({"name": rename} if rename else {})
    if not told:
        raise click.UsageError("Say what to change: --state, --category, --app, --inner-ip, ...")
    with master() as client:
        answer = client.set_hosts(names, **told)
    _changed(answer, as_json)


@host.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--set", "whole", metavar="A,B=ID,...", help="Exactly these connections, in this order.")
@click.option("--add", "added", metavar="CONNECTION[=ID]", help="Add this way, as the last one.")
@click.option("--first", is_flag=True, help="With --add: as the first one.")
@click.option("--remove", metavar="CONNECTION", help="Take this way from them.")
@click.option("--up", metavar="CONNECTION", help="Move this way up by one.")
@click.option("--down", metavar="CONNECTION", help="Move this way down by one.")
@json_option
def ways(
    names: tuple[str, ...],
    whole: str | None,
    added: str | None,
    first: bool,
    remove: str | None,
    up: str | None,
    down: str | None,
    as_json: bool,
) -> None:
    """Change over which connections the hosts NAME are reached, and in which order."""
    changes: list[dict[str, Any]] = []
    if whole is not None:
        changes.append({"ways": [_way(text) for text in whole.split(",") if text]})
    if added:
        changes.append({"add": _way(added)} | ({"place": 0} if first else {}))
    changes += [{"remove": remove}] if remove else []
    changes += [{"move": name, "by": by} for name, by in ((up, -1), (down, 1)) if name]
    if len(changes) != 1:
        raise click.UsageError("Say exactly one of --set, --add, --remove, --up and --down.")
    with master() as client:
        answer = client.set_ways(names, **changes[0])
    _changed(answer, as_json)


@host.command("import")
@click.option("--from", "source", metavar="CONNECTION", help="The list that this connection's engine keeps.")
@click.option("--csv", "file", metavar="FILE", help="A CSV file; - is standard input.")
@click.option("--category", "categ", default="", help="Function category of new hosts; added if need be.")
@click.option("--app", default="", help="Application category of new hosts; added if need be.")
@click.option(
    "--state", type=click.Choice(STATES[:3]), default="in_service", show_default=True, help="Of new hosts."
)
@click.option("--connection", default="", metavar="NAME", help="With --csv: the way to new hosts.")
@click.option("--groups", type=click.Choice(["app", "categ"]), help="What a host's first group stands for.")
@click.option("--all", "everything", is_flag=True, help="Also list the hosts that stay as they are.")
@click.option("--apply", "apply_", is_flag=True, help="Do it; without this it is only shown.")
@click.option("--expect", metavar="DIGEST", help="With --apply: only if it is still this preview.")
@json_option
def import_(
    source: str | None,
    file: str | None,
    groups: str | None,
    everything: bool,
    apply_: bool,
    expect: str | None,
    as_json: bool,
    **options: str,
) -> int:
    """Show what an import of hosts would do; with --apply, do exactly that.

    Nothing is ever removed: hosts that the source does not know are only listed.
    """
    if (source is None) == (file is None):
        raise click.UsageError("Say exactly one of --from and --csv.")
    body = _read(file) if file is not None else None
    title = Path(file).name if file and file != "-" else ""
    with master() as client:
        preview = client.preview_import(source, body, groups=groups or "", title=title, limit=0, **options)
        rows = _rows(client, preview)
        if not as_json:
            _print_preview(preview, rows if everything else _of_interest(rows))
        done = _apply(client, preview, expect) if apply_ else None
    if as_json:
        print_json({**preview, "rows": rows, "applied": done is not None})
    elif done is not None:
        click.echo(f"Done: {done['counts']['new']} added, {done['counts']['changed']} changed.")
    else:
        click.echo(f"Nothing was changed yet. To do it: --apply --expect {preview['digest']}")
    return ends.OK


def _apply(client: Client, preview: Mapping[str, Any], expect: str | None) -> dict[str, Any]:
    try:
        return client.apply_import(preview["token"], expect)
    except PreviewOutdated:
        print_error("Look at the preview again: nothing was changed.")
        raise


def _rows(client: Client, preview: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < preview["total"]:
        page = client.import_rows(preview["token"], limit=_PAGE, offset=len(found))["rows"]
        if not page:
            break
        found += page
    return found


def _of_interest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["status"] != "same"]


def _print_preview(preview: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        print_table(("", "host", "row", "what"), [_line(row) for row in rows])
    counts = ", ".join(f"{number} {word}" for word, number in preview["counts"].items() if number)
    click.echo(f"{visible_line(preview['title'])}: {counts or 'no hosts'}.")


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    return row["status"], row["name"], row["number"] or "", row["reason"] or _words(row)


def _words(row: Mapping[str, Any]) -> str:
    if row["status"] == "new":
        return "; ".join(f"{each['field']} {each['new']}" for each in row["changes"])
    return "; ".join(f"{each['field']}: {each['old'] or '-'} -> {each['new']}" for each in row["changes"])


def _read(file: str) -> bytes:
    body = sys.stdin.buffer.read(_LONGEST_FILE + 1) if file == "-" else Path(file).read_bytes()
    if len(body) > _LONGEST_FILE:
        raise click.UsageError(f"The file is longer than {_LONGEST_FILE} bytes; divide it.")
    return body


def _wire(values: Mapping[str, Any]) -> dict[str, str]:
    names = {"category": "categ", "inner_ip": "lip", "outer_ip": "wip"}
    told = {**values, "labels": ", ".join(values.get("labels") or ()) or None}
    return {names.get(name, name): value for name, value in told.items() if value is not None}


def _way(text: str) -> dict[str, str]:
    name, _, remote_id = text.partition("=")
    return {"connection": name.strip(), "remote_id": remote_id.strip()}


def _over(ways: Sequence[Mapping[str, Any]]) -> str:
    told = [f"{visible_line(way['connection'])} as {visible_line(way['remote_id'])}" for way in ways]
    return ", then ".join(told) or "no connection"


def _changed(answer: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(f"Changed {answer['changed']} host{'' if answer['changed'] == 1 else 's'}.")
