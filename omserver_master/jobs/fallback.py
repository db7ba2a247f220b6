"""Whether a host whose way broke down under its work goes on over its next way.

Before anything is sent, any work takes the first way that is up (`.roads`). After that it depends on what a
repeat means: ``read_only`` work moves on, ``idempotent`` work once its first try is proved to be over,
``once`` work never, and any work of which it is proved that it was never sent. A host that is silent on a
way that works is not moved: it is the host that is ill.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from omserver_master.contract.work import Answer

from .board import Seat
from .dispatch import Group, prove
from .ports import Roads

#: Seconds between two looks at the ways of work under way.
LOOK_EVERY = 1.0
#: Seconds that a way has to be down before work leaves it; a restart is shorter.
DOWN_FOR = 3.0
#: Answers that a broken way may be to blame for.
BLAMED_ON_THE_WAY = ("unknown", "unreachable", "not_started")


class Fallback:
    """Watches the ways of one job's work.

    Args:
        repeat: "read_only", "idempotent" or "once".
        move: told that a seat shall try its next way, and why.
        tell: gets the `.dispatch.Proved` of a try that had to be stopped first.
    """

    def __init__(
        self,
        roads: Roads,
        repeat: str,
        move: Callable[[Seat, Group, str], None],
        tell: Callable[[object], None],
    ) -> None:
        self._roads = roads
        self._repeat = repeat
        self._move = move
        self._tell = tell
        self._next_look = 0.0
        self._down_since: dict[int, float] = {}

    def look(self, groups: Iterable[Group]) -> None:
        """Let ``read_only`` work leave ways that are down, without waiting for their answers."""
        now = time.monotonic()
        if self._repeat != "read_only" or now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY
        at_work = [group for group in groups if _at_work(group)]
        for way in {group.connection_id for group in at_work}:
            reason = self._roads.why_down(way)
            if not reason:
                self._down_since.pop(way, None)
            elif now - self._down_since.setdefault(way, now) >= DOWN_FOR:
                self._leave([group for group in at_work if group.connection_id == way], reason)

    def takes(self, seat: Seat, group: Group, answer: Answer) -> bool:
        """Whether *seat* tries another way instead of ending with *answer*."""
        if answer.state not in BLAMED_ON_THE_WAY:
            return False
        reason = self._roads.why_down(group.connection_id)
        if not reason or not self._has_another(seat, group):
            return False
        if self._repeat == "read_only" or answer.state == "not_started":
            if answer.state != "not_started":
                seat.tried = "unknown"
            self._move(seat, group, reason)
            return True
        if self._repeat == "idempotent":
            prove(group, seat, answer, self._tell)
            return True
        return False

    def may_move(self, seat: Seat, group: Group, proof: str) -> bool:
        """Whether *seat* moves on now that *proof* says how its first try stands; if so, it does."""
        if proof not in ("stopped", "not_started") or not self._has_another(seat, group):
            return False
        if proof == "stopped":
            seat.tried = proof
        self._move(seat, group, self._roads.why_down(group.connection_id) or "It was down for a while.")
        return True

    def _leave(self, groups: Iterable[Group], reason: str) -> None:
        for group in groups:
            for seat in _at_work(group):
                if self._has_another(seat, group):
                    seat.tried = "unknown"
                    self._move(seat, group, reason)

    def _has_another(self, seat: Seat, group: Group) -> bool:
        return not isinstance(self._roads.choose(seat.host, {*seat.left, group.connection_id}), str)


def _at_work(group: Group) -> list[Seat]:
    """The seats that wait for this dispatch to answer."""
    return [
        seat
        for seat in group.seats
        if seat.handle == group.handle and seat.state == "dispatched" and seat.answer is None
    ]
