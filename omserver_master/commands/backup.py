"""`omserver backup`: the database as one file, while everything runs."""

from __future__ import annotations

from pathlib import Path

import click

from ..store.backup import save
from ..store.engine import begin
from .localsite import note, open_site


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--with-key", is_flag=True, help="Put the site key in, too: the file is then as secret as the key."
)
def command(file: Path, with_key: bool) -> None:
    """Write all tables, as they are at one moment, into the new FILE (mode 0600), while everything runs.

    Outputs and client keys are in it as they are stored, encrypted: HOME/site.key is needed to read them.
    """
    site = open_site()
    path = site.settings.site_key
    key = site.site_key
    counts = save(site.engine, file, key, path.read_text(encoding="ascii") if with_key else None)
    with begin(site.engine) as conn:
        note(conn, "backup", file.name, "with the site key" if with_key else "")
    click.echo(
        f"Wrote {sum(counts.values())} rows of {len(counts)} tables, {counts['jobs']} jobs among them."
    )
    if with_key:
        click.echo(f"The site key is in it: whoever can read {file} can read all outputs.")
    else:
        click.echo(
            f"The site key is not in it. Keep a copy of {path} elsewhere: without it no output can be read."
        )
