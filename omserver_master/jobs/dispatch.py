"""Hand equal work of several hosts to an engine as one dispatch, and feed back what each host answers."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from omserver_master.backends.base import Backend, ConnectionDown, Target
from omserver_master.contract.work import Answer, Put, Run, Script

from .board import Seat

log = logging.getLogger(__name__)

Work = Run | Script | Put


@dataclass(frozen=True)
class Answered:
    """A host's answer to the work it was last given."""

    host_id: int
    answer: Answer


@dataclass(frozen=True)
class NotSent:
    """The connection turned out to be down: proved that nothing reached these hosts."""

    host_ids: tuple[int, ...]
    work: Work
    reason: str


@dataclass(frozen=True)
class Dispatched:
    """A group is fixed: this handle, this connection. Told before anything is sent."""

    connection_id: int | None
    """``None`` where the module's code reaches the hosts by itself."""
    handle: str
    remote_ids: Mapping[int, str]
    """By which name the engine knows each host."""

    @property
    def host_ids(self) -> tuple[int, ...]:
        return tuple(self.remote_ids)


@dataclass
class Group:
    """Seats that do the same work over the same connection."""

    work: Work
    connection_id: int
    backend: Backend
    seats: list[Seat] = field(default_factory=list)
    handle: str = ""

    @property
    def host_ids(self) -> tuple[int, ...]:
        return tuple(seat.host.id for seat in self.seats)

    def fixed(self) -> Dispatched:
        """What is written down before anything is sent."""
        return Dispatched(self.connection_id, self.handle, {s.host.id: self._remote(s) for s in self.seats})

    def targets(self) -> list[Target]:
        return [self._target(seat) for seat in self.seats]

    def _target(self, seat: Seat) -> Target:
        return Target(str(seat.host.id), seat.host.name, self._remote(seat), seat.host.ip)

    def _remote(self, seat: Seat) -> str:
        return next(r.remote_id for r in seat.host.routes if r.connection_id == self.connection_id)


def same_work(items: Iterable[tuple[Seat, Work]]) -> list[tuple[Work, list[Seat]]]:
    """Put the seats together that yielded the same work."""
    groups: dict[str, tuple[Work, list[Seat]]] = {}
    for seat, work in items:
        key = json.dumps(work.to_wire(), sort_keys=True)
        groups.setdefault(key, (work, []))[1].append(seat)
    return list(groups.values())


def send(group: Group, deadline: float, tell: Callable[[object], None]) -> threading.Thread:
    """Run *group* in a thread of its own; *tell* receives ``Answered`` and ``NotSent``, one per host.

    Args:
        deadline: ``time.monotonic()`` moment by which the last answer comes.
    """
    thread = threading.Thread(target=_fly, args=(group, deadline, tell), name=group.handle, daemon=True)
    thread.start()
    return thread


def _fly(group: Group, deadline: float, tell: Callable[[object], None]) -> None:
    missing = set(group.host_ids)
    try:
        for host_id, answer in group.backend.run(group.work, group.targets(), group.handle, deadline):
            missing.discard(int(host_id))
            tell(Answered(int(host_id), answer))
    except ConnectionDown as down:
        tell(NotSent(tuple(sorted(missing)), group.work, str(down)))
    except Exception as error:  # an engine is foreign code; what it breaks is called unknown
        log.exception("dispatch %s broke", group.handle)
        reason = f"The engine broke while this host worked ({type(error).__name__}: {error})."
        for silent in missing:
            tell(Answered(silent, Answer("unknown", reason=reason)))


def cancel(groups: Sequence[Group], tell: Callable[[object], None]) -> None:
    """Stop groups in threads of their own; *tell* receives one ``Stopped`` per host that was still open."""
    for group in groups:
        threading.Thread(target=_stop, args=(group, tell), name=f"stop {group.handle}", daemon=True).start()


@dataclass(frozen=True)
class Stopped:
    """What was proved about one host after a cancel."""

    host_id: int
    proof: str


def _stop(group: Group, tell: Callable[[object], None]) -> None:
    targets = group.targets()
    try:
        proofs = group.backend.cancel(group.handle, targets)
    except Exception:  # as in _fly
        log.exception("cancel of %s broke", group.handle)
        proofs = {}
    for target in targets:
        tell(Stopped(int(target.id), proofs.get(target.id, "unknown")))


Inbox = queue.Queue[object]
