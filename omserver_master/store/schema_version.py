"""Which version the tables have, and bringing them to ours with the Alembic migrations of sql/."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from ..errors import DatabaseBehind
from .engine import begin, read

#: The site folder with the migrations and the seed, beside the packages.
SQL_DIR = Path(__file__).resolve().parent.parent.parent / "sql"


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Run the migrations that are missing; answer the version before and after.

    Raises:
        DatabaseBehind: the database is of a newer version than this program, or sql/ is missing.
        Unavailable: the database cannot do that now.
    """
    script = _script()
    with begin(engine) as conn:
        before = current(conn)
        _refuse_newer(script, before)
        config = _config()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
    return before, _head(script)


def require_current(engine: Engine) -> str:
    """Answer the database's version if it is this program's.

    Raises:
        DatabaseBehind: it is not.
        Unavailable: the database cannot be read.
    """
    script = _script()
    with read(engine) as conn:
        found = current(conn)
    _refuse_newer(script, found)
    if found != _head(script):
        raise DatabaseBehind
    return _head(script)


def head() -> str:
    """This program's version of the tables."""
    return _head(_script())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SQL_DIR / "migrations").replace("%", "%%"))
    return config


def _script() -> ScriptDirectory:
    if not (SQL_DIR / "migrations").is_dir():
        raise DatabaseBehind(f"The folder {SQL_DIR}, which holds the migrations, is missing.")
    return ScriptDirectory.from_config(_config())


def _head(script: ScriptDirectory) -> str:
    found = script.get_current_head()
    assert found is not None
    return found


def current(conn: Connection) -> str | None:
    """The version that the database says it has; None: it has no tables of ours."""
    return MigrationContext.configure(conn).get_current_revision()


def _refuse_newer(script: ScriptDirectory, found: str | None) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseBehind(f"The database is of version {found}, which this OMServer does not know.")
