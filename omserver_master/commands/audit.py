"""`omserver audit`: is what was written down still what was written?"""

from __future__ import annotations

import click

from ..store import audit
from ..store.engine import read
from .localsite import open_site


@click.group()
def command() -> None:
    """Verify the chain of audit rows."""


@command.command()
@click.option("--head", metavar="HASH", help="The hash that an earlier run printed: it must still be there.")
def verify(head: str | None) -> None:
    """Check every row, and print the last row's hash: keep it elsewhere, to notice a cut-off end."""
    site = open_site()
    with read(site.engine) as conn:
        state = audit.verify(conn, head, site.site_key)
    click.echo(f"{state.rows} audit rows, none changed, removed or moved.")
    click.echo(f"Last row: {state.last_id}, hash {state.head}")
