"""``omctl modules``: what can be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from .connection import master
from .show import json_option, print_json, print_table
from .visible import visible


@click.command()
@click.argument("module", required=False)
@json_option
def modules(module: str | None, as_json: bool) -> None:
    """List the modules, or show one MODULE with its parameters."""
    with master() as client:
        found = client.module(module) if module else client.modules()
    if as_json:
        print_json(found if module else {"modules": found})
    elif isinstance(found, Mapping):
        _print_one(found)
    else:
        print_table(("id", "title", "repeat", "risk", "parameters"), [_row(one) for one in found])


def _row(module: Mapping[str, Any]) -> tuple[object, ...]:
    if module["broken"]:
        return module["id"], "(broken)", "", "", _fault(module)
    params = " ".join(f"{param['name']}={_shown_default(param)}" for param in module["params"])
    return module["id"], module["title"], module["repeat"], module["risk"], params


def _fault(module: Mapping[str, Any]) -> str:
    return f"line {module['broken']['line']}: {visible(module['broken']['reason'])}"


def _shown_default(param: Mapping[str, Any]) -> str:
    default = param["default"]
    return "..." if default in (None, "") else str(default)


def _print_one(module: Mapping[str, Any]) -> None:
    if module["broken"]:
        click.echo(f"{module['id']} is broken, {_fault(module)}")
        return
    click.echo(f"{module['id']}  {visible(module['title'])}")
    click.echo(f"repeat {module['repeat']}, risk {module['risk']}, at most {module['timeout']} s on a host")
    for param in module["params"]:
        click.echo(
            f"  -p {param['name']}={_shown_default(param)}   {visible(param['label'])}{_bounds(param)}"
        )
    words = "".join(f" -p {param['name']}=..." for param in module["params"] if param["required"])
    words += " --arg VALUE ..." if module["direct"] and not module["params"] else ""
    click.echo(f"Run it: omctl run {module['id']} --host NAME{words}")


def _bounds(param: Mapping[str, Any]) -> str:
    if param.get("choices"):
        return ": " + ", ".join(str(choice[0]) for choice in param["choices"])
    low, high = param.get("minimum"), param.get("maximum")
    if low is None and high is None:
        return ""
    return f": {'...' if low is None else low} to {'...' if high is None else high}"
