"""Take up a job that another worker left: ask the engine by its handle what became of each host's work.

The handle was fixed and committed before anything was sent, so the engine can tell. Where it cannot, it
depends on what a repeat means: ``read_only`` work is sent again, ``idempotent`` work once its first try is
proved to be over, ``once`` work never. What is proved never to have been sent, is sent unless it is ``once``:
the lost worker may only have been slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from omserver_master.contract.work import Answer, Run, Work
from omserver_master.failpoints import reach

from .board import Ending, Seat
from .dispatch import Group, digest, prove, take_up
from .ports import Roads

#: Seconds that a host gets at least to say what became of its work, though its time may be over.
LEAST = 15.0
#: Stands for work that nobody will send.
_ANY = Run(["true"])
NO_WAY = "The way to it is there no more, or not on this machine."
CHANGED = "After a restart the module asked for something else than before; what it did before is not known."
CUT_SHORT = "Cut off after step {}: its worker stopped at the moment of sending step {}, which never came."
CUT_OFF = "Cut off: its worker stopped at the moment of sending, and nothing reached the host."


class Takeover:
    """Takes up the hosts of one job that were at work.

    Args:
        again: told that a seat's work is to be sent once more.
        end: told how a seat ends that cannot be taken up.
        tell: gets the answers, like those of any dispatch.
    """

    def __init__(
        self,
        roads: Roads,
        repeat: str,
        again: Callable[[Seat, Work], None],
        end: Callable[[Seat, Ending], None],
        tell: Callable[[object], None],
    ) -> None:
        self._roads = roads
        self._repeat = repeat
        self._again = again
        self._end = end
        self._tell = tell
        self._waiting: dict[str, Group] = {}

    def put(self, seat: Seat, work: Work) -> None:
        """The module, replayed, stands again where *seat* waits for the answer to *work*."""
        left = seat.left_at
        assert left is not None
        if left.work and left.work != digest(work):
            self._end(seat, Ending("unknown", CHANGED))
            return
        if not self._join(self._waiting, seat, work):
            self._undecided(seat, None, Answer("unknown", reason=NO_WAY), work)

    def groups(self, seats: Iterable[Seat]) -> list[Group]:
        """The dispatches of *seats* as another worker left them, to be stopped; what they do is not known."""
        found: dict[str, Group] = {}
        for seat in seats:
            self._join(found, seat, _ANY)
        return list(found.values())

    def _join(self, groups: dict[str, Group], seat: Seat, work: Work) -> bool:
        """Put *seat* into the group of its handle; False if its way is there no more."""
        left = seat.left_at
        if left is None or left.connection_id is None:
            return False
        backend = self._roads.backend(left.connection_id)
        if backend is None:
            return False
        group = groups.setdefault(left.handle, Group(work, left.connection_id, backend, handle=left.handle))
        group.seats.append(seat)
        group.remotes[seat.host.id] = left.remote_id
        return True

    def send(self, least_deadline: float) -> dict[str, Group]:
        """Ask the engines after all that were put in; the groups by handle.

        Args:
            least_deadline: ``time.monotonic()`` moment until which to wait for them at least.
        """
        asked, self._waiting = self._waiting, {}
        for group in asked.values():
            reach("takeover.before_ask")
            until = max(seat.left_at.until for seat in group.seats if seat.left_at is not None)
            take_up(group, max(until, least_deadline), self._tell)
            reach("takeover.asked")
        return asked

    def takes(self, seat: Seat, group: Group, answer: Answer) -> bool:
        """Whether *seat* goes on instead of ending with *answer*, the first since it was taken up."""
        if answer.state in ("unknown", "not_started"):
            return self._undecided(seat, group, answer, group.work)
        seat.left_at = None
        return False

    def proved(self, seat: Seat, group: Group, proof: str) -> bool:
        """Whether *seat* goes on, now that *proof* says how its first try stands."""
        seat.left_at = None
        if proof not in ("stopped", "not_started"):
            return False
        if proof == "stopped":
            seat.tried = proof
        self._again(seat, group.work)
        return True

    def _undecided(self, seat: Seat, group: Group | None, answer: Answer, work: Work) -> bool:
        never_sent = answer.state == "not_started"
        if self._repeat == "read_only" or (never_sent and self._repeat == "idempotent"):
            seat.left_at = None
            if not never_sent:
                seat.tried = "unknown"
            self._again(seat, work)
            return True
        if self._repeat == "idempotent" and group is not None:
            prove(group, seat, answer, self._tell)
            return True
        seat.left_at = None
        if never_sent and seat.step > 1:
            self._end(seat, Ending("failed", CUT_SHORT.format(seat.step - 1, seat.step)))
            return True
        if never_sent or group is None:
            self._end(seat, Ending(answer.state, CUT_OFF if never_sent else answer.reason))
            return True
        return False
