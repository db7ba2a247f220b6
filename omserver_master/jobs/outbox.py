"""Work that may not begin yet, work that waits for a way to its host, and the one line that says why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from omserver_master.backends.base import Backend
from omserver_master.contract.work import Work

from .board import Seat
from .dispatch import Group, same_work
from .ports import Roads

#: Seconds between two looks at ways that are down.
LOOK_AGAIN = 2.0
#: So many different reasons are told; what waits for others is counted.
MOST_REASONS = 3


class Outbox:
    """Pieces of work for seats, put in by a run and taken out as groups once a connection is up.

    Args:
        explain: told the reason whenever it changes; ``""`` when nothing waits any more.
    """

    def __init__(self, roads: Roads, explain: Callable[[str], None]) -> None:
        self._roads = roads
        self._explain = explain
        self._waiting: dict[int, tuple[Seat, Work]] = {}
        self._held: dict[int, tuple[Seat, Work]] = {}
        self._look_again = 0.0
        self.reason = ""
        """Why what is in here waits, in one line."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, seat: Seat, work: Work) -> None:
        """The next piece of work of a host; it is looked at without delay."""
        self._waiting[seat.host.id] = (seat, work)
        self._look_again = 0.0

    def hold(self, seat: Seat, work: Work) -> None:
        """The first piece of work of a host that may not begin yet; it is not looked at."""
        self._held[seat.host.id] = (seat, work)

    def hold_back(self) -> None:
        """Hold all those that have not begun."""
        back = {host_id: item for host_id, item in self._waiting.items() if not item[0].sent}
        self._held |= back
        for host_id in back:
            del self._waiting[host_id]

    def let_go(self, host_ids: Iterable[int]) -> None:
        """Those of *host_ids* that are held may begin."""
        for host_id in host_ids:
            item = self._held.pop(host_id, None)
            if item is not None:
                self.put(*item)

    @property
    def held(self) -> list[int]:
        """The ids of the hosts that may not begin yet."""
        return list(self._held)

    def clear(self) -> None:
        """Forget everything: nothing of it will be sent."""
        self._waiting.clear()
        self._held.clear()

    def drop(self, which: Callable[[Seat], bool], *, held: bool = False) -> list[Seat]:
        """Take out the seats for which *which* says so, with *held* also those that may not begin yet."""
        dropped = []
        for waiting in (self._waiting, self._held) if held else (self._waiting,):
            out = [seat for seat, _ in waiting.values() if which(seat)]
            for seat in out:
                del waiting[seat.host.id]
            dropped += out
        return dropped

    def take(self) -> list[Group]:
        """What can be sent now, equal work over the same connection together."""
        if not self._waiting or time.monotonic() < self._look_again:
            return []
        self._look_again = time.monotonic() + LOOK_AGAIN
        ready, waits = self._choose()
        self._say(waits)
        return [
            Group(work, connection_id, backend, seats, backend.new_handle())
            for connection_id, (backend, items) in ready.items()
            for work, seats in same_work(items)
        ]

    def _choose(self) -> tuple[dict[int, tuple[Backend, list[tuple[Seat, Work]]]], Counter[str]]:
        """What can go, by the connection; and for each reason how many hosts wait because of it."""
        ready: dict[int, tuple[Backend, list[tuple[Seat, Work]]]] = {}
        waits: Counter[str] = Counter()
        for host_id, (seat, work) in list(self._waiting.items()):
            way = self._roads.choose(seat.host, seat.left)
            if isinstance(way, str):
                waits[way] += 1
                continue
            seat.passed_over = "; ".join([*seat.left.values(), *way.passed_over])
            ready.setdefault(way.connection_id, (way.backend, []))[1].append((seat, work))
            del self._waiting[host_id]
        return ready, waits

    def _say(self, waits: Mapping[str, int]) -> None:
        text = _in_one_line(waits)
        if text != self.reason:
            self.reason = text
            self._explain(text)


def _in_one_line(waits: Mapping[str, int]) -> str:
    """Each reason with the number of its hosts, the most hosts first."""
    ordered = sorted(waits.items(), key=lambda wait: (-wait[1], wait[0]))
    told = [f"{reason} {_hosts_wait(number)}" for reason, number in ordered[:MOST_REASONS]]
    others = sum(number for _, number in ordered[MOST_REASONS:])
    return " ".join([*told, *([f"For other ways {_hosts_wait(others)}"] if others else [])])


def _hosts_wait(number: int) -> str:
    return "1 host waits." if number == 1 else f"{number} hosts wait."
