"""`omserver restore`: a backup into an empty database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ..errors import BackupRefused
from ..settings import Settings, load_settings, open_home
from ..store import restore as bringing
from ..store.engine import make_engine
from ..store.sitekey import read_site_key
from .localsite import who


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Bring the backup FILE into this site's database, which must be empty, of whatever kind it is.

    No master may run on it. What was under way when the backup was made is interrupted, and never runs again.
    """
    settings = load_settings()
    open_home(settings)
    head = bringing.check(file)
    engine = make_engine(settings.database_url)
    bringing.check_empty(engine)
    _bring_key(settings, head)
    counts = bringing.restore(engine, file, who())
    click.echo(f"Brought back {sum(counts.values())} rows, {counts.get('jobs', 0)} jobs among them.")
    click.echo(
        "Everybody has to log in again. Keys and people that were revoked since the backup are valid again."
    )


def _bring_key(settings: Settings, head: dict[str, Any]) -> None:
    """Have the site key that the backup needs, from the backup if it holds it."""
    path = settings.site_key
    if not path.exists():
        if not head["site_key"]:
            raise BackupRefused(
                f"The site key {path} is missing, and the backup does not hold it: bring it first."
            )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(head["site_key"])
            file.flush()
            os.fsync(descriptor)
    bringing.check_key(head, read_site_key(path))
