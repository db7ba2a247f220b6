"""What hosts printed: compressed, encrypted with the site key, stored once per distinct text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from .schema import outputs
from .sitekey import SiteKey

#: Characters of the line that lists show.
FIRST_LINE = 200

# Made once: every result with an output asks this.
_IDS = select(outputs.c.digest, outputs.c.id).where(
    outputs.c.digest.in_(bindparam("digests", expanding=True))
)
#: With the size, since MariaDB would lock no more than the index, and a purge would not pass the row over.
_HOLD_ONE = (
    select(outputs.c.digest, outputs.c.id, outputs.c.size)
    .where(outputs.c.digest == bindparam("digest"))
    .with_for_update(read=True, key_share=True)
)
_ONCE = sqlite.insert(outputs).on_conflict_do_nothing().inline()

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class SealedOutput:
    """An output ready for the database: made before the transaction, since it takes time."""

    digest: str
    body: bytes
    size: int
    first_line: str


def seal(site: SiteKey, text: bytes) -> SealedOutput | None:
    """Compress and encrypt *text*; None if it is empty."""
    if not text:
        return None
    digest = site.digest(text)
    return SealedOutput(digest, site.seal_output(zlib.compress(text), digest), len(text), first_line(text))


def first_line(text: bytes) -> str:
    """The first line of *text* that is not blank, printable and at most `FIRST_LINE` characters."""
    start = text[: 64 * FIRST_LINE].decode("utf-8", "replace")
    lines = (_CONTROL.sub("", line).strip() for line in start.splitlines())
    return next((line for line in lines if line), "")[:FIRST_LINE]


def put_output(conn: Connection, site: SiteKey, text: bytes) -> int | None:
    """Store *text* and answer its id; None if it is empty."""
    sealed = seal(site, text)
    return None if sealed is None else put_sealed(conn, [sealed])[sealed.digest]


def put_sealed(conn: Connection, texts: Iterable[SealedOutput]) -> dict[str, int]:
    """Store what is not stored yet; answer the id for each digest.

    Until the transaction ends, nobody can purge what it answers.
    """
    wanted = {text.digest: text for text in texts}
    ids: dict[str, int] = {}
    while len(ids) < len(wanted):
        # Always in one order: two workers that store the same texts must not wait for each other.
        ids.update(_hold(conn, [digest for digest in sorted(wanted) if digest not in ids]))
        ids.update(_insert(conn, [wanted[digest] for digest in sorted(wanted) if digest not in ids]))
    return ids


def get_output(conn: Connection, site: SiteKey, output_id: int | None) -> bytes:
    """The text stored under *output_id*; nothing for None.

    Raises:
        SiteKeyError: it was sealed under another site key, or changed since.
    """
    if output_id is None:
        return b""
    row = conn.execute(select(outputs).where(outputs.c.id == output_id)).one()
    return zlib.decompress(site.open_output(row.body, row.digest))


def _ids(conn: Connection, digests: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(digests), 500):
        some = {"digests": digests[start : start + 500]}
        found.update((digest, id_) for digest, id_ in conn.execute(_IDS, some))
    return found


def _hold(conn: Connection, digests: Sequence[str]) -> dict[str, int]:
    """The ids of those that are stored, kept from being purged until the transaction ends."""
    if conn.dialect.name == "sqlite":
        return _ids(conn, digests)  # nobody else writes meanwhile
    if len(digests) == 1:
        return {row.digest: row.id for row in conn.execute(_HOLD_ONE, {"digest": digests[0]})}
    found = _ids(conn, digests)
    held, wanted = set[int](), sorted(found.values())
    for start in range(0, len(wanted), 500):
        some = outputs.c.id.in_(wanted[start : start + 500])
        query = select(outputs.c.id).where(some).order_by(outputs.c.id)
        held.update(conn.execute(query.with_for_update(read=True, key_share=True)).scalars())
    return {digest: id_ for digest, id_ in found.items() if id_ in held}


def _insert(conn: Connection, texts: Sequence[SealedOutput]) -> dict[str, int]:
    """Store these; the ids of those that are ours, as far as can be told: nobody can purge them yet."""
    rows = [{"digest": text.digest, "body": text.body, "size": text.size} for text in texts]
    if not rows:
        return {}
    kind = conn.dialect.name
    if kind == "postgresql":
        once = postgresql.insert(outputs).on_conflict_do_nothing().returning(outputs.c.digest, outputs.c.id)
        return {row.digest: row.id for row in conn.execute(once, rows)}
    if kind == "sqlite":
        number = conn.execute(_ONCE, rows).rowcount
    else:
        number = conn.execute(mysql.insert(outputs).prefix_with("IGNORE").inline(), rows).rowcount
    return _ids(conn, [text.digest for text in texts]) if number == len(rows) else {}
