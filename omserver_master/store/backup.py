"""Writing all tables into one file while everything runs: what the database holds at one moment.

One transaction sees that moment: SQLite's log keeps it, the others' REPEATABLE READ does. (SQLite's own way
to copy pages begins again whenever another process writes, and might never end here.) Memory does not grow
with the number of rows: they are read in pages by their keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping, Table, and_, func, or_, select

from . import clock
from .archive import Row, Writer
from .engine import understood
from .schema import metadata, outputs, sessions, workers
from .schema_version import require_current
from .sitekey import SiteKey

#: What a restored site begins without: everybody logs in again, and workers say who they are.
LEFT_OUT: Final = (sessions, workers)
#: Rows of one look, and bytes of outputs.
_PAGE: Final = 2000
_BYTES: Final = 16 * 1024 * 1024
#: What is marked to see whether a site key is the one that the backup needs.
MARKED: Final = "backup"


def save(engine: Engine, path: Path, site: SiteKey, site_key: str | None = None) -> dict[str, int]:
    """Write the database to *path*, with the text *site_key* if wanted; how many rows of each table.

    Raises:
        BackupRefused: there is such a file already, or it cannot be written.
        DatabaseBehind: the database is not of this version.
        Unavailable: the database cannot be read now.
    """
    version = require_current(engine)
    with _moment(engine) as conn:
        head = {
            "version": version,
            "made": clock.now(conn),
            "database": engine.dialect.name,
            "key": site.mark(MARKED),
            "site_key": site_key,
        }
        with Writer(path, head) as archive:
            for table in metadata.sorted_tables:
                if table not in LEFT_OUT:
                    archive.table(table)
                    for row in _rows(conn, table):
                        archive.add(row)
        return archive.rows


@contextmanager
def _moment(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees the same database from its first look to its last."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with understood(), engine.execution_options(**options).connect() as conn:
        yield conn


def _rows(conn: Connection, table: Table) -> Iterator[Row]:
    keys = list(table.primary_key)
    last: RowMapping | None = None
    while True:
        query = select(table).order_by(*keys).limit(_PAGE)
        if last is not None:
            query = query.where(_beyond(table, last))
        if table is outputs:
            query = query.where(outputs.c.id <= _fitting(conn, last))
        page = conn.execute(query).mappings().all()
        if not page:
            return
        yield from (list(row.values()) for row in page)
        last = page[-1]


def _beyond(table: Table, row: RowMapping) -> Any:
    """Rows whose primary key is greater than that of *row*."""
    keys = list(table.primary_key)
    same = [column == row[column.name] for column in keys]
    return or_(*(and_(*same[:place], column > row[column.name]) for place, column in enumerate(keys)))


def _fitting(conn: Connection, last: RowMapping | None) -> int:
    """The last output of the next page: together they are not much more than `_BYTES`."""
    query = select(outputs.c.id, func.length(outputs.c.body)).order_by(outputs.c.id).limit(_PAGE)
    total = found = 0
    for id_, size in conn.execute(query.where(outputs.c.id > (last["id"] if last else 0))):
        if found and total + size > _BYTES:
            break
        found, total = id_, total + size
    return found
