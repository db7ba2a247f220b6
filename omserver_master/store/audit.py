"""What was done and what was refused: a chain of rows that each hold the hash of the one before.

A row is written in the transaction of the action it tells of, as its last statement: whoever appends waits
for the one before to commit. A row that was changed, removed or moved breaks the chain; a tail that was cut
off shows by a hash that was written down before (`omserver audit verify` prints it).

The oldest rows may be cut off when their time is over: a row of the chain then says up to which one, under a
mark that takes the site key to make. Rows that are missing at the start without one are a broken chain.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Row, RowMapping, delete, func, insert, select

from ..errors import AuditBroken
from . import clock
from .schema import audit_events
from .sitekey import SiteKey
from .types import storable

#: What the first row names as the one before.
START: Final = "0" * 64
_PAGE: Final = 1000
#: The action of the rows that say what was cut off.
CUT: Final = "audit.cut"
#: Seconds that the oldest row must be too old before it is cut: each cut adds a row itself.
_CUT_EVERY: Final = 86_400.0
_CUT_ROWS: Final = 500
_SHORT: Final = {"user": 255, "key": 255, "address": 255, "action": 32, "target": 255, "outcome": 32}


@dataclass(frozen=True)
class ChainState:
    """What a good chain consists of."""

    rows: int
    last_id: int
    head: str


#: Made once: every action asks this, and writes a row.
_NEWEST = (
    select(audit_events.c.id, audit_events.c.hash, clock.utc_now().label("now"))
    .order_by(audit_events.c.id.desc())
    .limit(1)
    .with_for_update()
)
_ADD = insert(audit_events)
#: Where a connection keeps the last row that was added over it, and by which transaction.
_HELD: Final = "omserver_chain"


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
    row["previous"], row["time"] = _locked_head(conn)
    row["hash"] = _hash(row)
    inserted = conn.execute(_ADD, row).inserted_primary_key
    assert inserted is not None
    conn.info[_HELD] = conn.get_transaction(), inserted[0]
    return int(inserted[0])


def verify(conn: Connection, head: str | None = None, site: SiteKey | None = None) -> ChainState:
    """Check every row's hash and its link to the row before, and that the row with the hash *head* is there.

    Where the oldest rows were cut, it takes the site key to see that this was right.

    Raises:
        AuditBroken: they do not hold; the text names the first row that is wrong.
    """
    rows, last_id, previous, seen = 0, 0, START, head in (None, START)
    first, allowed = None, site is None
    for row in _all(conn):
        if rows == 0 and row.previous != START:
            first, previous = row, row.previous
        if first is not None and row.action == CUT and site is not None:
            allowed = allowed or _allows(site, row, first)
        if row.previous != previous:
            raise AuditBroken(f"Rows before audit row {row.id} were removed or moved.")
        if row.hash != _hash(row._mapping):
            raise AuditBroken(f"Audit row {row.id} was changed after it was written.")
        rows, last_id, previous = rows + 1, row.id, row.hash
        seen = seen or row.hash == head
    if first is not None and (site is None or not allowed):
        raise AuditBroken(f"Rows before audit row {first.id} were removed.")
    if not seen:
        raise AuditBroken(
            f"The row with the hash {head} is gone: the end was cut off, or it is older than what is kept."
        )
    return ChainState(rows, last_id, previous)


def cut(conn: Connection, site: SiteKey, before: float, who: str) -> tuple[int, bool]:
    """Remove some of the rows from before that time, oldest first, if the oldest is a day older than that.

    The first time it writes down how far it will go. Answers how many rows went, and whether more are to go.
    """
    _locked_head(conn)  # one at a time
    page = _oldest(conn)
    old = [row for row in page if row.time < before]
    if not old:
        return 0, False
    if not (promised := _promised(conn, site, old[0].id)):
        if old[0].time >= before - _CUT_EVERY:
            return 0, False
        promised, hash_ = _last_before(conn, before)
        text = f"{promised} {hash_}"
        append(conn, action=CUT, user=who, target=f"row {promised}", detail=f"{text} {site.mark(text)}")
    going = [row.id for row in old if row.id <= promised]
    conn.execute(delete(audit_events).where(audit_events.c.id <= going[-1]))
    return len(going), going[-1] < promised


def rows_before(conn: Connection, before: float) -> int:
    """How many rows `cut` would remove."""
    page = _oldest(conn)
    if not page or page[0].time >= before - _CUT_EVERY:
        return 0
    upto = audit_events.c.id <= _last_before(conn, before)[0]
    return int(conn.execute(select(func.count()).select_from(audit_events).where(upto)).scalar_one())


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


def _locked_head(conn: Connection) -> tuple[str, float]:
    """The last row's hash, and the time, with that row locked: nobody else can append until we are done.

    While we waited for the lock a newer row may have come, so look until the row that we hold is the last.
    SQLite has no such lock and needs none: only one transaction at a time writes.
    """
    alone = conn.dialect.name == "sqlite"
    by, held = conn.info.get(_HELD, (None, None))
    if by is not conn.get_transaction():
        held = None
    while True:
        last = conn.execute(_NEWEST).first()
        if last is None:
            return START, clock.now(conn)
        if alone or last.id == held:
            return str(last.hash), float(last.now)
        held = last.id


def _oldest(conn: Connection) -> list[Row[Any]]:
    return list(conn.execute(select(audit_events).order_by(audit_events.c.id).limit(_CUT_ROWS)))


def _last_before(conn: Connection, before: float) -> tuple[int, str]:
    """The last of the oldest rows that are from before that time, and its hash; there is one."""
    last_id, hash_ = 0, ""
    for row in _all(conn):
        if row.time >= before:
            break
        last_id, hash_ = row.id, row.hash
    return last_id, hash_


def _promised(conn: Connection, site: SiteKey, first: int) -> int:
    """How far a cut that did not come to its end was to go; 0: there is none."""
    cuts = select(audit_events).where(audit_events.c.action == CUT)
    row = conn.execute(cuts.order_by(audit_events.c.id.desc()).limit(1)).first()
    upto = _marked(site, row) if row is not None else None
    return upto[0] if upto is not None and upto[0] >= first else 0


def _allows(site: SiteKey, row: Row[Any], first: Row[Any]) -> bool:
    """Whether the cut that *row* tells of explains that the chain begins with *first*."""
    upto = _marked(site, row)
    return upto is not None and (first.id <= upto[0] or first.previous == upto[1])


def _marked(site: SiteKey, row: Row[Any]) -> tuple[int, str] | None:
    """Up to which row and hash was cut, if *row* says so under the right mark."""
    words = row.detail.split()
    if len(words) != 3 or not hmac.compare_digest(words[2], site.mark(f"{words[0]} {words[1]}")):
        return None
    return int(words[0]), words[1]


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
