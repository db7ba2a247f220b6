"""``omctl status``: the master, its workers and its connections."""

from __future__ import annotations

import click

from .connection import master
from .show import json_option, print_json, print_table


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show whether master, workers and connections are well."""
    with master() as client:
        answer = client.status()
    if as_json:
        print_json(answer)
        return
    click.echo(
        f"OMServer {answer['version']}, database {answer['database']}, "
        f"{answer['queued']} jobs waiting, {answer['running']} running"
    )
    workers = [
        ("worker", row["name"], "up" if row["alive"] else "down", f"{row['jobs']} jobs, on {row['machine']}")
        for row in answer["workers"]
    ]
    connections = [(row["kind"], row["name"], row["state"], row["reason"]) for row in answer["connections"]]
    print_table(("kind", "name", "state", ""), workers + connections)
