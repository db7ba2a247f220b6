"""Which hosts were lately noted to have answered: too many jobs would write it again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

#: Seconds for which a host's note is good enough.
GOOD_FOR = 30.0


class Seen:
    """What one worker has noted; safe for use by all its job threads.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: dict[int, float] = {}

    def due(self, host_ids: Iterable[int]) -> list[int]:
        """Those whose note is too old."""
        old = self._clock() - GOOD_FOR
        return [host_id for host_id in host_ids if self._noted.get(host_id, old) <= old]

    def note(self, host_ids: Iterable[int]) -> None:
        """It was committed that these have answered."""
        self._noted.update(dict.fromkeys(host_ids, self._clock()))
