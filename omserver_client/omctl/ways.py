"""``omctl connection``: the ways to reach hosts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..client import Client
from . import ends
from .connection import master
from .show import json_option, local_time, print_json, print_table
from .visible import visible_line

_LONGEST_SECRET = 64 * 1024

_set = click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting.")
_secret = click.option("--secret", "asked", multiple=True, metavar="NAME", help="Ask for a secret setting.")
_secret_file = click.option(
    "--secret-file",
    "files",
    multiple=True,
    metavar="NAME=PATH",
    help="Read a secret setting from a file; - is standard input.",
)
_machine = click.option(
    "--machine", "named", multiple=True, metavar="NAME", help="A machine whose workers serve it."
)
_any_machine = click.option("--any-machine", is_flag=True, help="Workers on any machine serve it.")
_no_try = click.option("--no-try", is_flag=True, help="Don't ask whether its control point answers.")


@click.group("connection")
def connection() -> None:
    """List, add, change and try the ways to reach hosts."""


@connection.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the connections, with what is known of their state."""
    with master() as client:
        found = client.connections()
    if as_json:
        print_json({"connections": found})
        return
    heads = ("connection", "kind", "machines", "state", "since", "hosts", "why")
    print_table(heads, [_line(each) for each in found])


@connection.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the connection NAME with its settings; of secret ones only that they are set."""
    with master() as client:
        found = client.connection(name)
    if as_json:
        print_json(found)
    else:
        _print_one(found)


@connection.command()
@click.argument("kind", required=False)
@json_option
def kinds(kind: str | None, as_json: bool) -> None:
    """List the kinds of connection, or the settings of one KIND."""
    with master() as client:
        found = client.connection_kinds()
    if kind is not None:
        found = [each for each in found if each["kind"] == kind]
        if not found:
            raise click.UsageError(f"There is no kind {kind!r}; omctl connection kinds lists them.")
    if as_json:
        print_json({"kinds": found})
    elif kind is None:
        print_table(("kind", "settings"), [(each["kind"], _names(each["settings"])) for each in found])
    else:
        print_table(
            ("setting", "must be", "default", "what it is"), [_setting(s) for s in found[0]["settings"]]
        )


@connection.command()
@click.argument("name")
@click.option("--kind", required=True, help="The engine: omctl connection kinds lists them.")
@_set
@_secret
@_secret_file
@_machine
@_any_machine
@_no_try
@json_option
def add(
    name: str,
    kind: str,
    pairs: tuple[str, ...],
    asked: tuple[str, ...],
    files: tuple[str, ...],
    named: tuple[str, ...],
    any_machine: bool,
    no_try: bool,
    as_json: bool,
) -> int:
    """Add the connection NAME, and say whether its control point answers.

    The master's machine serves it if its kind is local or salt, any machine if it is another, unless you say
    others.
    """
    machines = _machines(named, any_machine)
    settings = _given(pairs, asked, files)
    with master() as client:
        client.add_connection(name, kind, settings, machines)
        return _after(client, name, f"Added {name}.", no_try, as_json)


@connection.command("set")
@click.argument("name")
@_set
@_secret
@_secret_file
@click.option("--unset", multiple=True, metavar="NAME", help="Take a setting back.")
@_machine
@_any_machine
@click.option("--rename", metavar="NAME", help="Give it another name.")
@_no_try
@json_option
def set_(
    name: str,
    pairs: tuple[str, ...],
    asked: tuple[str, ...],
    files: tuple[str, ...],
    unset: tuple[str, ...],
    named: tuple[str, ...],
    any_machine: bool,
    rename: str | None,
    no_try: bool,
    as_json: bool,
) -> int:
    """Change settings of the connection NAME; those that are not named stay as they are.

    --machine names all the machines that serve it from now on; jobs that wait follow.
    """
    machines = _machines(named, any_machine)
    settings = _given(pairs, asked, files) | dict.fromkeys(unset)
    if not settings and machines is None and not rename:
        what = "--set, --secret, --secret-file, --unset, --machine, --any-machine or --rename"
        raise click.UsageError(f"Say what to change: {what}.")
    with master() as client:
        if settings or machines is not None:
            client.set_connection(name, settings, machines)
        if rename:
            client.rename_connection(name, rename)
        return _after(client, rename or name, f"Changed {rename or name}.", no_try, as_json)


@connection.command("try")
@click.argument("name")
@click.option("--host", metavar="NAME", help="Also try one host: it runs `true`.")
@json_option
def try_(name: str, host: str | None, as_json: bool) -> int:
    """Ask the control point of NAME whether it is up; exit code 3 if it is not."""
    with master() as client:
        trial = client.try_connection(name, host)
    if as_json:
        print_json(trial)
    else:
        _print_trial(name, trial)
    return _code(trial)


@connection.command()
@click.argument("name")
@json_option
def enable(name: str, as_json: bool) -> None:
    """Turn the connection NAME on."""
    _turn(name, True, as_json)


@connection.command()
@click.argument("name")
@json_option
def disable(name: str, as_json: bool) -> None:
    """Turn the connection NAME off: its hosts take their next way, or wait."""
    _turn(name, False, as_json)


@connection.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Remove the connection NAME, which no host may use any more."""
    with master() as client:
        client.remove_connection(name)
    if as_json:
        print_json({})
    else:
        click.echo(f"Removed {visible_line(name)}.")


def _turn(name: str, enabled: bool, as_json: bool) -> None:
    with master() as client:
        found = client.enable_connection(name, enabled)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{visible_line(name)} is {'on' if enabled else 'off'}.")


def _after(client: Client, name: str, done: str, no_try: bool, as_json: bool) -> int:
    """Say that it was done and, unless not wanted, how the connection is."""
    found = client.connection(name)
    trial = None if no_try or not found["here"] else client.try_connection(name)
    if as_json:
        print_json({"connection": found if trial is None else client.connection(name), "trial": trial})
    else:
        click.echo(visible_line(done))
        if trial is not None:
            _print_trial(name, trial)
        elif not found["here"]:
            click.echo(f"It was not tried: it is served by {_served_by(found)} alone.")
    return ends.OK if trial is None else _code(trial)


def _code(trial: Mapping[str, Any]) -> int:
    if not trial["up"]:
        return ends.SOME_UNREACHABLE
    return ends.of_host(trial["state"]) if trial["state"] else ends.OK


def _print_trial(name: str, trial: Mapping[str, Any]) -> None:
    name = visible_line(name)
    if not trial["up"]:
        click.echo(f"{name} is down: {visible_line(trial['reason'])}")
        return
    click.echo(f"{name} is up ({trial['seconds']:.1f} s).")
    if trial["state"]:
        why = f": {visible_line(trial['host_reason'])}" if trial["host_reason"] else ""
        state = trial["state"].replace("_", " ")
        click.echo(f"{visible_line(trial['host'])}: {state} ({trial['host_seconds']:.1f} s){why}")


def _given(pairs: Sequence[str], asked: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    """The settings that the options name, secret ones asked for or read."""
    settings: dict[str, Any] = dict(_pair(text) for text in pairs)
    for text in files:
        name, path = _pair(text)
        settings[name] = _read(path)
    for name in asked:
        if not sys.stdin.isatty():
            raise click.UsageError("There is no terminal to ask for a secret on; use --secret-file.")
        settings[name] = click.prompt(name, hide_input=True)
    return settings


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"A setting is written NAME=VALUE, not {text!r}.")
    return name, value


def _read(path: str) -> str:
    if path == "-":
        return sys.stdin.read(_LONGEST_SECRET).rstrip("\r\n")
    return Path(path).expanduser().read_text(encoding="utf-8")[:_LONGEST_SECRET].rstrip("\r\n")


def _machines(named: tuple[str, ...], any_machine: bool) -> list[str] | None:
    """The machines that the options name: none of them, any; None, nothing was said."""
    if named and any_machine:
        raise click.UsageError("Either --machine or --any-machine.")
    return list(named) if named or any_machine else None


def _line(each: Mapping[str, Any]) -> tuple[object, ...]:
    since = local_time(each["since"])
    served = _served_by(each)
    return each["name"], each["kind"], served, each["state"], since, each["hosts"], each["reason"]


def _served_by(found: Mapping[str, Any]) -> str:
    return ", ".join(found["machines"]) or "any"


def _names(settings: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(each["name"] + ("*" if each["required"] else "") for each in settings)


def _setting(setting: Mapping[str, Any]) -> tuple[object, ...]:
    must = "one of " + ", ".join(setting["choices"]) if setting["choices"] else setting["type"]
    more = [word for word in ("required", "secret") if setting[word]]
    return setting["name"], ", ".join([must, *more]), _text(setting["default"]), setting["help"]


def _print_one(found: Mapping[str, Any]) -> None:
    rows: list[tuple[str, object]] = [(name, found[name]) for name in ("name", "kind", "state")]
    rows += [("why", found["reason"])] if found["reason"] else []
    rows += [("hosts", found["hosts"]), ("machines", _served_by(found))]
    rows += [(name, _text(value)) for name, value in sorted(found["settings"].items())]
    rows += [(name, "(set, not shown)") for name in found["secrets"]]
    print_table(("what", "value"), rows)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
