"""``omctl hosts``: what modules can be run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..client import Client
from .connection import master
from .show import json_option, local_time, print_json, print_table

_PAGE = 500


@click.command()
@click.option("--category", help="A function category, by name or number.")
@click.option("--app", help="An application category, by name or number.")
@click.option("--search", help="Part of a name or an address.")
@json_option
def hosts(category: str | None, app: str | None, search: str | None, as_json: bool) -> None:
    """List the hosts that you may see."""
    with master() as client:
        wanted = _numbers(client.categories(), category, app) if category or app else {}
        found = _all_pages(client, wanted | ({"search": search} if search else {}))
    if as_json:
        print_json({"hosts": found})
        return
    print_table(
        ("name", "address", "system", "category", "application", "by", "state", "last seen"),
        [_row(host) for host in found],
    )


def _all_pages(client: Client, wanted: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    while True:
        page = client.hosts(**wanted, limit=_PAGE, offset=len(found))
        found += page["hosts"]
        if not page["hosts"] or len(found) >= page["total"]:
            return found


def _row(host: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        host["name"],
        host["wip"] or host["lip"],
        host["os"],
        host["categ"],
        host["app"],
        host["connection"],
        host["state"],
        local_time(host["last_seen"]),
    )


def _numbers(
    categories: Sequence[Mapping[str, Any]], category: str | None, app: str | None
) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if category:
        categories = [_named(categories, category, "function category")]
        wanted["categ_id"] = categories[0]["id"]
    if app:
        apps = [one for categ in categories for one in categ["apps"]]
        wanted["app_id"] = _named(apps, app, "application category")["id"]
    return wanted


def _named(rows: Sequence[Mapping[str, Any]], wanted: str, what: str) -> Mapping[str, Any]:
    for row in rows:
        if wanted == str(row["id"]) or wanted.lower() == row["name"].lower():
            return row
    raise click.UsageError(f"There is no {what} {wanted!r}. Known: {', '.join(row['name'] for row in rows)}.")
