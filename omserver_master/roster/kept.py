"""Previews of imports, kept in memory for those who made them until they are applied, or for an hour."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from omserver_client.errors import NotFound

from .incoming import Incoming
from .plan import Options, Plan

#: Previews that are kept in all, and the seconds for which one is.
MOST = 8
KEPT_SECONDS = 3600.0


@dataclass(frozen=True)
class Preview:
    """A plan with what it was made of. *source* is the connection whose list it is, or None for a file."""

    user_id: int
    title: str
    source: str | None
    rows: Sequence[Incoming]
    options: Options
    plan: Plan


class Previews:
    """The newest previews by their token. Safe for use by all threads."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Preview]] = {}
        self._lock = threading.Lock()

    def keep(self, preview: Preview) -> str:
        """Keep *preview* and answer its token; the oldest one goes when there are too many."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._forget_old()
            while len(self._kept) >= MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[token] = (time.monotonic(), preview)
        return token

    def find(self, token: str, user_id: int) -> Preview:
        """The preview that this person made.

        Raises:
            NotFound: there is none such, or no longer.
        """
        with self._lock:
            self._forget_old()
            found = self._kept.get(token)
        if found is None or found[1].user_id != user_id:
            raise NotFound("This preview is gone; make it again.")
        return found[1]

    def forget(self, token: str) -> None:
        """The preview was applied."""
        with self._lock:
            self._kept.pop(token, None)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - KEPT_SECONDS
        self._kept = {token: kept for token, kept in self._kept.items() if kept[0] > oldest}
