"""Versions of module files that jobs ran."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from . import clock
from .schema import module_versions

# Made once: every new job asks this.
_THIS = module_versions.c.module == bindparam("module"), module_versions.c.sha256 == bindparam("sha256")
_KEPT = select(module_versions.c.module).where(*_THIS)
_SOURCE = select(module_versions.c.source).where(*_THIS)
#: Sources that were read; what lies under a hash never changes.
_KNOWN: dict[tuple[str, str], str] = {}
#: Versions that were seen in the table, where they stay for ever; by database.
_SEEN: WeakKeyDictionary[Engine, set[tuple[str, str]]] = WeakKeyDictionary()
_MOST_KNOWN = 100


def keep_version(conn: Connection, module: str, sha256: str, source: str) -> None:
    """Keep the source of *module* under its hash, once."""
    seen = _SEEN.setdefault(conn.engine, set())
    if (module, sha256) in seen:
        return
    if conn.execute(_KEPT, {"module": module, "sha256": sha256}).first() is not None:
        if len(seen) >= _MOST_KNOWN:
            seen.clear()
        seen.add((module, sha256))
        return
    row = {"module": module, "sha256": sha256, "source": source, "first_seen": clock.now(conn)}
    try:
        with conn.begin_nested():
            conn.execute(insert(module_versions).values(row))
    except IntegrityError:
        return  # another job kept it at the same moment


def source_of(conn: Connection, module: str, sha256: str) -> str | None:
    """The source kept under that hash, if there is one."""
    this = {"module": module, "sha256": sha256}
    found = _KNOWN.get((module, sha256)) or conn.execute(_SOURCE, this).scalar()
    if found:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[module, sha256] = found
    return found
