"""What hosts printed: compressed, encrypted with the site key, stored once per distinct text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Insert, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from .schema import outputs
from .sitekey import SiteKey

#: Characters of the line that lists show.
FIRST_LINE = 200

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
    while True:
        ids = _ids(conn, list(wanted))
        # Always in one order: two workers that store the same texts must not wait for each other.
        missing = [wanted[digest] for digest in sorted(wanted) if digest not in ids]
        if missing:
            rows = [{"digest": text.digest, "body": text.body, "size": text.size} for text in missing]
            conn.execute(_insert_once(conn).inline(), rows)
            ids.update(_ids(conn, [text.digest for text in missing]))
        if len(ids) == len(wanted) and _hold(conn, ids.values()):
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


def _ids(conn: Connection, digests: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(digests), 500):
        some = outputs.c.digest.in_(digests[start : start + 500])
        query = select(outputs.c.digest, outputs.c.id).where(some)
        found.update((digest, id_) for digest, id_ in conn.execute(query))
    return found


def _hold(conn: Connection, ids: Collection[int]) -> bool:
    """Keep these outputs from being purged until the transaction ends; whether all are still there."""
    if conn.dialect.name == "sqlite":
        return True  # nobody else writes meanwhile
    held, wanted = 0, sorted(ids)
    for start in range(0, len(wanted), 500):
        some = outputs.c.id.in_(wanted[start : start + 500])
        query = select(outputs.c.id).where(some).order_by(outputs.c.id)
        held += len(conn.execute(query.with_for_update(read=True, key_share=True)).all())
    return held == len(wanted)


def _insert_once(conn: Connection) -> Insert:
    """An insert that leaves alone what another worker has stored meanwhile."""
    kind = conn.dialect.name
    if kind == "postgresql":
        return postgresql.insert(outputs).on_conflict_do_nothing()
    if kind == "sqlite":
        return sqlite.insert(outputs).on_conflict_do_nothing()
    return mysql.insert(outputs).prefix_with("IGNORE")
