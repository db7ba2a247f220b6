"""What a new database begins with: the original's kinds of categories and its seven modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from . import hosts
from .schema import module_list
from .schema_version import SQL_DIR

SEED = SQL_DIR / "seed.json"


def seed(conn: Connection, file: Path = SEED) -> int:
    """Add what is missing of *file*, leave alone what is there; answer how many modules were added."""
    wanted = json.loads(file.read_text(encoding="utf-8"))
    ids = {name: hosts.add_category(conn, name) for name in wanted["function_categories"]}
    for categ, name in wanted["application_categories"]:
        hosts.add_app(conn, ids[categ], name)
    return _add_modules(conn, wanted["modules"])


def _add_modules(conn: Connection, modules: list[list[Any]]) -> int:
    there = set(conn.execute(select(module_list.c.ID)).scalars())
    names = "ID", "module_name", "module_caption"
    rows = [dict(zip(names, row, strict=True)) for row in modules if row[0] not in there]
    if rows:
        conn.execute(insert(module_list), rows)
        _count_on(conn)
    return len(rows)


def _count_on(conn: Connection) -> None:
    """Let PostgreSQL's counter go on after the ids that we chose; the others do so by themselves."""
    if conn.dialect.name == "postgresql":
        highest = conn.execute(select(func.max(module_list.c.ID))).scalar_one()
        counter = text("SELECT setval(pg_get_serial_sequence('module_list', 'ID'), :id)")
        conn.execute(counter, {"id": highest})
