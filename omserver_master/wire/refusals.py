"""Reports messages that could not be opened, without letting a stranger fill the audit with them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic

log = logging.getLogger(__name__)

#: How many refusals of one address are audited per minute; the others are in the log only.
AUDITED = 60
_MINUTE = 60.0


class Refusals:
    """Passes (address, kid, reason) on to *audit*, at most *audited* times per address and minute.

    Safe to use from several threads.
    """

    def __init__(self, audit: Callable[[str, str, str], None], audited: int = AUDITED) -> None:
        self._audit = audit
        self._audited = audited
        self._lock = threading.Lock()
        self._minute = 0.0
        self._counts: Counter[str] = Counter()

    def report(self, address: str, kid: str, reason: str) -> None:
        """Log a refusal, and audit it unless this address had its share."""
        log.info("refused a message from %s (key %s): %s", address, kid or "none", reason)
        count = self._count(address)
        if count == self._audited:
            reason += "; more of them in this minute are in the log only"
        if count <= self._audited:
            self._audit(address, kid, reason)

    def _count(self, address: str) -> int:
        with self._lock:
            minute = monotonic() // _MINUTE
            if minute != self._minute:
                self._minute = minute
                self._counts.clear()
            self._counts[address] += 1
            return self._counts[address]
