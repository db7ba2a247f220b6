"""`omserver db`: the tables and what they begin with."""

from __future__ import annotations

import click
from sqlalchemy import Engine, select

from ..errors import SiteKeyError
from ..settings import Settings, load_settings, open_home
from ..store.engine import begin, make_engine, read
from ..store.schema import client_keys, outputs
from ..store.schema_version import require_current, upgrade
from ..store.seed import seed
from ..store.sitekey import make_site_key, read_site_key
from .localsite import note, open_site


@click.group()
def command() -> None:
    """Bring the database to this version, fill it, check it."""


@command.command("upgrade")
def upgrade_() -> None:
    """Create the tables, or bring them to this version; make the site key if there is none yet."""
    before, after = prepare(load_settings())
    click.echo(f"The database is of version {after}; it was {before or 'empty'} before.")


@command.command("seed")
def seed_() -> None:
    """Add the original's categories and modules where they are missing."""
    with begin(open_site().engine) as conn:
        added = seed(conn)
        note(conn, "db.seed", detail=f"{added} modules added")
    click.echo(f"{added} modules added.")


@command.command()
def check() -> None:
    """Say whether the database can be reached and is of this version."""
    settings = load_settings()
    click.echo(f"The database is of version {require_current(make_engine(settings.database_url))}.")


def prepare(settings: Settings) -> tuple[str | None, str]:
    """Make the data folder, the tables and the site key; answer the tables' version before and after.

    Raises:
        SettingsError: the data folder is not fit for it.
        SiteKeyError: the site key is gone although something was encrypted with it.
        Unavailable: the database cannot be reached.
    """
    open_home(settings)
    engine = make_engine(settings.database_url)
    try:
        before, after = upgrade(engine)
        if settings.site_key.exists():
            read_site_key(settings.site_key)
        else:
            _refuse_lost_key(engine, settings)
            make_site_key(settings.site_key)
        if before != after:
            with begin(engine) as conn:
                note(conn, "db.upgrade", detail=f"{before or 'nothing'} -> {after}")
    finally:
        engine.dispose()
    return before, after


def _refuse_lost_key(engine: Engine, settings: Settings) -> None:
    with read(engine) as conn:
        sealed = [conn.execute(select(table).limit(1)).first() for table in (client_keys, outputs)]
    if any(sealed):
        raise SiteKeyError(
            f"The site key {settings.site_key} is gone, but the database holds what was encrypted with it;"
            " bring it back from the backup."
        )
