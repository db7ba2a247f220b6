"""Begin a module's code anew when its process has died under it: nothing of its hosts' work is lost by that.

What the hosts have answered so far is replayed into the new process, as after the death of a worker, and it
goes on where the old one was. Code that kills its process again and again is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from omserver_master.contract.work import Answer

from .board import Board

#: So many processes of a module's code may die one after another while no host gets any further.
MOST_DEATHS = 3

Begin = Callable[[Mapping[str, Answer]], None]
"""Begins the code anew; given the last answers of hosts, by name, that are not written down yet."""


class Revival:
    """Revives the code of one job; *begin* is None where that cannot be done."""

    def __init__(self, begin: Begin | None) -> None:
        self._begin = begin
        self._deaths = 0
        self._standing: tuple[int, ...] = ()

    def revive(self, board: Board) -> bool:
        """Begin anew the code that has died, unless that is no use; whether it was begun."""
        standing = tuple(seat.step for seat in board.open())
        self._deaths = self._deaths + 1 if standing == self._standing else 1
        self._standing = standing
        if self._begin is None or not standing or self._deaths > MOST_DEATHS:
            return False
        self._begin({seat.host.name: seat.answer for seat in board.open() if seat.answer is not None})
        return True
