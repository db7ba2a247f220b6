"""Hand equal work of several hosts to an engine as one dispatch, and feed back what each host answers."""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from omserver_master.backends.base import Backend, ConnectionDown, Target
from omserver_master.contract.work import Answer, Work
from omserver_master.failpoints import reach

from .board import Seat, Step

log = logging.getLogger(__name__)

#: Seconds between the commit that something is about to be sent and the moment when it is too late to send
#: it; far less than a claim, which is renewed by that commit.
LATEST_SEND = 5.0
#: Seconds for which a send that had begun when the cancel came may still reach the engine after it.
UNDER_WAY = 1.0
#: Seconds between two tries to ask a connection that is down.
ASK_AGAIN = 2.0


@dataclass(frozen=True)
class Answered:
    """A host's answer to the work of the dispatch *handle*."""

    host_id: int
    handle: str
    answer: Answer


@dataclass(frozen=True)
class NotSent:
    """The connection turned out to be down: proved that nothing reached these hosts."""

    host_ids: tuple[int, ...]
    handle: str
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
    passed_over: Mapping[int, str] = field(default_factory=dict)
    """The ways that a host does not take, and why; hosts on their first way are missing."""
    work: str = ""
    """The hash of what is asked."""
    step: Mapping[int, int] = field(default_factory=dict)
    """The number of each host's step."""
    done: Mapping[int, Step] = field(default_factory=dict)
    """The step of each host before this one."""
    reason: str = ""
    """What the job waits for beside, in one line."""
    begins: bool = False
    """Whether any of the hosts had not been given anything before."""

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
    remotes: dict[int, str] = field(default_factory=dict)
    """Names of hosts that the engine knew them by when the work was sent, where that was another worker."""
    committed: float = 0.0
    """A ``time.monotonic()`` moment just before it was committed that this is about to be sent."""
    waits: bool = False
    """Whether a thread is about to send this, and may still be told not to."""
    begun: float = float("-inf")
    """The ``time.monotonic()`` moment when the engine was given this."""
    gate: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held to change the two."""

    @property
    def host_ids(self) -> tuple[int, ...]:
        return tuple(seat.host.id for seat in self.seats)

    def fixed(self) -> Dispatched:
        """What is written down before anything is sent."""
        remote_ids = {seat.host.id: self._remote(seat) for seat in self.seats}
        passed_over = {seat.host.id: seat.passed_over for seat in self.seats if seat.passed_over}
        step = {seat.host.id: seat.step for seat in self.seats}
        done = {seat.host.id: seat.done for seat in self.seats if seat.done is not None}
        begins = any(not seat.sent for seat in self.seats)
        return Dispatched(
            self.connection_id, self.handle, remote_ids, passed_over, self.digest, step, done, begins=begins
        )

    @cached_property
    def digest(self) -> str:
        """By what the work is known again."""
        return digest(self.work)

    def targets(self) -> list[Target]:
        return [self.target(seat) for seat in self.seats]

    def target(self, seat: Seat) -> Target:
        return Target(str(seat.host.id), seat.host.name, self._remote(seat), seat.host.ip)

    def _remote(self, seat: Seat) -> str:
        if seat.host.id in self.remotes:
            return self.remotes[seat.host.id]
        return next(r.remote_id for r in seat.host.routes if r.connection_id == self.connection_id)


def digest(work: Work) -> str:
    """By what a piece of work is known again: the hash of its JSON."""
    return hashlib.sha256(json.dumps(work.to_wire(), sort_keys=True).encode()).hexdigest()


def same_work(items: Iterable[tuple[Seat, Work]]) -> list[tuple[Work, list[Seat]]]:
    """Put the seats together that yielded the same work."""
    groups: dict[str, tuple[Work, list[Seat]]] = {}
    for seat, work in items:
        groups.setdefault(digest(work), (work, []))[1].append(seat)
    return list(groups.values())


def send(group: Group, deadline: float, tell: Callable[[object], None]) -> threading.Thread:
    """Run *group* in a thread of its own; *tell* receives ``Answered`` and ``NotSent``, one per host.

    Args:
        deadline: ``time.monotonic()`` moment by which the last answer comes.
    """
    group.waits = True
    thread = threading.Thread(target=_fly, args=(group, deadline, tell), name=group.handle, daemon=True)
    thread.start()
    return thread


def take_up(group: Group, deadline: float, tell: Callable[[object], None]) -> threading.Thread:
    """Hear in a thread of its own what became of *group*, which another worker had sent.

    A connection that is down is waited for until the deadline.
    """
    thread = threading.Thread(target=_wait_and_hear, args=(group, deadline, tell), daemon=True)
    thread.start()
    return thread


def _wait_and_hear(group: Group, deadline: float, tell: Callable[[object], None]) -> None:
    while True:
        try:
            answers = group.backend.reattach(group.handle, group.work, group.targets(), deadline)
            _hear(group, answers, tell)
            return
        except ConnectionDown as down:
            if time.monotonic() > deadline - ASK_AGAIN:
                reason = f"Its worker stopped while it worked, and it can't be asked: {down}"
                for host_id in group.host_ids:
                    tell(Answered(host_id, group.handle, Answer("unknown", reason=reason)))
                return
            time.sleep(ASK_AGAIN)


def _fly(group: Group, deadline: float, tell: Callable[[object], None]) -> None:
    reach("send.before")
    with group.gate:
        if not group.waits:
            return  # it was cancelled meanwhile
        group.waits, group.begun = False, time.monotonic()
    if group.begun - group.committed > LATEST_SEND:
        # This process slept; by now the job may be another worker's.
        tell(NotSent(group.host_ids, group.handle, group.work, "It was not sent in time."))
        return
    reach("send.now")
    try:
        answers = group.backend.run(group.work, group.targets(), group.handle, deadline)
        _hear(group, answers, tell)
    except ConnectionDown as down:
        tell(NotSent(group.host_ids, group.handle, group.work, str(down)))


def _hear(group: Group, answers: Iterable[tuple[str, Answer]], tell: Callable[[object], None]) -> None:
    """Tell every answer; of an engine that breaks, that the others are unknown.

    Raises:
        ConnectionDown: nothing was sent, or nobody can be asked.
    """
    missing = set(group.host_ids)
    try:
        for host_id, answer in answers:
            reach("answer.heard")
            missing.discard(int(host_id))
            tell(Answered(int(host_id), group.handle, answer))
    except ConnectionDown:
        raise
    except Exception as error:  # an engine is foreign code; what it breaks is called unknown
        log.exception("dispatch %s broke", group.handle)
        reason = f"The engine broke while this host worked ({type(error).__name__}: {error})."
        for silent in missing:
            tell(Answered(silent, group.handle, Answer("unknown", reason=reason)))


def cancel(groups: Sequence[Group], tell: Callable[[object], None]) -> None:
    """Stop groups in threads of their own; *tell* receives one ``Stopped`` per host that was still open."""
    for group in groups:
        threading.Thread(target=_stop, args=(group, tell), name=f"stop {group.handle}", daemon=True).start()


@dataclass(frozen=True)
class Stopped:
    """What was proved about one host after a cancel."""

    host_id: int
    handle: str
    proof: str


def _stop(group: Group, tell: Callable[[object], None]) -> None:
    targets = group.targets()
    reach("stop.before")
    with group.gate:
        held_back, group.waits = group.waits, False
    proofs = dict.fromkeys((target.id for target in targets), "not_started")
    while not held_back:
        proofs = dict(_proofs(group, targets))
        under_way = time.monotonic() - group.begun < UNDER_WAY
        if not under_way or "not_started" not in proofs.values():
            break
        time.sleep(UNDER_WAY / 4)  # what has begun may come to the engine after our asking
    reach("stop.proved")
    for target in targets:
        tell(Stopped(int(target.id), group.handle, proofs.get(target.id, "unknown")))


@dataclass(frozen=True)
class Proved:
    """How the try stands of one host whose way broke down; *answer* is what it would end with."""

    host_id: int
    handle: str
    proof: str
    answer: Answer


def prove(group: Group, seat: Seat, answer: Answer, tell: Callable[[object], None]) -> None:
    """Stop the work of one host in a thread of its own; *tell* receives one ``Proved``."""

    def work() -> None:
        target = group.target(seat)
        proof = _proofs(group, [target]).get(target.id, "unknown")
        tell(Proved(seat.host.id, group.handle, proof, answer))

    threading.Thread(target=work, name=f"prove {group.handle}", daemon=True).start()


def _proofs(group: Group, targets: Sequence[Target]) -> Mapping[str, str]:
    try:
        return group.backend.cancel(group.handle, targets)
    except Exception:  # as in _fly
        log.exception("cancel of %s broke", group.handle)
        return {}


Inbox = queue.SimpleQueue[object]
