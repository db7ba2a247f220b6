"""The site as a command on the master's machine finds it: settings, database, site key."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass

import click
from sqlalchemy import Connection, Engine

from ..settings import Settings, load_settings, open_home
from ..store import audit
from ..store.engine import make_engine
from ..store.schema_version import require_current
from ..store.sitekey import SiteKey, read_site_key


@dataclass(frozen=True)
class LocalSite:
    """What commands work on."""

    settings: Settings
    engine: Engine

    @property
    def site_key(self) -> SiteKey:
        """The site key.

        Raises:
            SiteKeyError: it cannot be used.
        """
        return read_site_key(self.settings.site_key)


def open_site() -> LocalSite:
    """The site of this machine, with its database at this version.

    Raises:
        SettingsError: a setting is wrong.
        DatabaseBehind: `omserver db upgrade` was not run.
        Unavailable: the database cannot be reached.
    """
    settings = load_settings()
    open_home(settings)
    engine = make_engine(settings.database_url)
    require_current(engine)
    return LocalSite(settings, engine)


def note(conn: Connection, action: str, target: str = "", detail: str = "") -> None:
    """Write an audit row for something done by a command, as the transaction's last statement."""
    audit.append(conn, action=action, user=who(), address="this machine", target=target, detail=detail)


def show_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns."""
    cells = [[str(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def who() -> str:
    """Who runs this command, as the audit shall name them."""
    try:
        return f"{getpass.getuser()} (omserver)"
    except (KeyError, OSError):
        return "omserver"
