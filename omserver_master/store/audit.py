"""What was done and what was refused: a chain of rows that each hold the hash of the one before.

A row is written in the transaction of the action it tells of, as its last statement: whoever appends waits
for the one before to commit. A row that was changed, removed or moved breaks the chain; a tail that was cut
off shows by a hash that was written down before (`omserver audit verify` prints it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Row, RowMapping, insert, select

from ..errors import AuditBroken
from . import clock
from .schema import audit_events
from .types import storable

#: What the first row names as the one before.
START: Final = "0" * 64
_PAGE: Final = 1000
_SHORT: Final = {"user": 255, "key": 255, "address": 255, "action": 32, "target": 255, "outcome": 32}


@dataclass(frozen=True)
class ChainState:
    """What a good chain consists of."""

    rows: int
    last_id: int
    head: str


def append(
    conn: Connection,
    *,
    action: str,
    outcome: str = "ok",
    user: str = "",
    key: str = "",
    address: str = "",
    target: str = "",
    detail: str = "",
) -> int:
    """Add a row and answer its id; short fields are cut at their column's width."""
    given = {"user": user, "key": key, "address": address, "action": action, "target": target}
    row: dict[str, Any] = {**given, "outcome": outcome, "detail": storable(detail)}
    row.update((name, storable(row[name])[:width]) for name, width in _SHORT.items())
    row["previous"] = _locked_head(conn)
    row["time"] = clock.now(conn)
    row["hash"] = _hash(row)
    inserted = conn.execute(insert(audit_events).values(row)).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def verify(conn: Connection, head: str | None = None) -> ChainState:
    """Check every row's hash and its link to the row before, and that the row with the hash *head* is there.

    Raises:
        AuditBroken: they do not hold; the text names the first row that is wrong.
    """
    rows, last_id, previous, seen = 0, 0, START, head in (None, START)
    for row in _all(conn):
        if row.previous != previous:
            raise AuditBroken(f"Rows before audit row {row.id} were removed or moved.")
        if row.hash != _hash(row._mapping):
            raise AuditBroken(f"Audit row {row.id} was changed after it was written.")
        rows, last_id, previous = rows + 1, row.id, row.hash
        seen = seen or row.hash == head
    if not seen:
        raise AuditBroken(f"The row with the hash {head} is gone: the end was cut off.")
    return ChainState(rows, last_id, previous)


def list_audit(
    conn: Connection,
    *,
    limit: int,
    before: int | None = None,
    user: str | None = None,
    action: str | None = None,
) -> list[RowMapping]:
    """The newest rows first, at most *limit*, older than the row *before*."""
    wanted = []
    if before is not None:
        wanted.append(audit_events.c.id < before)
    if user is not None:
        wanted.append(audit_events.c.user == user)
    if action is not None:
        wanted.append(audit_events.c.action == action)
    query = select(audit_events).where(*wanted).order_by(audit_events.c.id.desc()).limit(limit)
    return list(conn.execute(query).mappings())


def _locked_head(conn: Connection) -> str:
    """The last row's hash, with that row locked: nobody else can append until we are done.

    While we waited for the lock a newer row may have come, so look until the row that we hold is the last.
    """
    newest = select(audit_events.c.id, audit_events.c.hash).order_by(audit_events.c.id.desc()).limit(1)
    held = None
    while True:
        last = conn.execute(newest.with_for_update()).first()
        if last is None:
            return START
        if last == held:
            return str(last.hash)
        held = last


def _hash(row: RowMapping | dict[str, Any]) -> str:
    names = "previous", *_SHORT, "detail"
    fields = [round(row["time"] * 1_000_000), *(row[name] for name in names)]
    return sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()


def _all(conn: Connection) -> Iterator[Row[Any]]:
    after: int | None = None
    query = select(audit_events).order_by(audit_events.c.id).limit(_PAGE)
    while True:
        page = conn.execute(query if after is None else query.where(audit_events.c.id > after)).all()
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id
