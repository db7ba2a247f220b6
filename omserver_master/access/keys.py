"""Client keys: making them, and finding the one that sealed a message."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping

from omserver_client.errors import BadRequest, Unavailable
from omserver_client.keyfile import Key, new_key, write_key

from ..caller import Acting, CallerKey
from ..store import keys as store
from ..store import sessions
from ..store.engine import begin, look
from ..store.grants import ROLES
from ..store.sitekey import SiteKey
from .sessions import hash_token

Row = Mapping[str, Any] | RowMapping

#: The time of a key's last use is written at most this often, in seconds.
_NOTE: Final = 600


class KeyRing:
    """The active client keys. Each look asks the database: a revoked key is refused at its next message."""

    def __init__(self, engine: Engine, site: SiteKey) -> None:
        self._engine = engine
        self._site = site
        self._noted: dict[str, float] = {}
        #: Keys in clear, each with the sealed secret that it was opened from.
        self._opened: dict[bytes, tuple[bytes, Key]] = {}

    def lookup(self, kid: bytes, session: str | None = None) -> tuple[Key, CallerKey] | None:
        """The key *kid* and what its holder may be, or None if it is unknown or revoked.

        A request most often names the *session* of the one before: it is read with the key.

        Raises:
            Unavailable: the database can't tell now.
        """
        row, acting = self._read(kid.hex(), session)
        if row is None or row["state"] != "active":
            self._opened.pop(kid, None)
            return None
        self._note_used(row["kid"])
        key = self._open(kid, row)
        return key, CallerKey(row["kid"], row["name"], row["role_cap"], row["service_user_id"], acting)

    def known(self, kid: bytes) -> Key | None:
        """The key *kid* as it was when last looked up; it may be revoked by now: good for a refusal only."""
        return self._opened.get(kid, (b"", None))[1]

    def _read(self, kid: str, session: str | None) -> tuple[Row | None, Acting | None]:
        with look(self._engine) as conn:
            if session is None:
                return store.key_row(conn, kid), None
            token_hash = hash_token(session)
            row, rows = sessions.key_and_acting(conn, kid, token_hash)
        return row, Acting(token_hash, rows)

    def _open(self, kid: bytes, row: Row) -> Key:
        """The key in clear; what was opened before is not opened again while the row has the same secret."""
        sealed, key = self._opened.get(kid, (b"", None))
        if key is None or sealed != row["secret"]:
            key = Key(row["name"], kid, self._site.open_client_key(row["secret"], row["kid"]))
            self._opened[kid] = row["secret"], key
        return key

    def _note_used(self, kid: str) -> None:
        """Write down the use, now and then: a key that nobody uses should be revoked."""
        now = time.monotonic()
        if now - self._noted.get(kid, -_NOTE) < _NOTE:
            return
        self._noted[kid] = now
        with suppress(Unavailable), begin(self._engine) as conn:
            store.note_key_used(conn, kid)


def create_key(
    conn: Connection,
    site: SiteKey,
    name: str,
    file: Path,
    role_cap: str = "operator",
    service_user_id: int | None = None,
) -> Key:
    """Make a key for the program *name* and write it to the new *file* (mode 0600).

    The file is written last, inside the transaction: without it nothing is kept.

    Raises:
        BadRequest: the name is taken or the role is unknown.
        BadKeyFile: the name is not acceptable.
        OSError: the file exists already or cannot be written.
    """
    if role_cap not in ROLES:
        raise BadRequest(f"{role_cap!r} is not a role: {', '.join(ROLES)}.", field="role")
    key = new_key(name)
    sealed = site.seal_client_key(key.secret, key.kid_hex)
    store.add_key(conn, key.kid_hex, name, role_cap, service_user_id, sealed)
    write_key(file, key)
    return key
