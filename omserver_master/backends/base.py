"""The contract of every engine: give it work and hosts, get exactly one answer per host.

An engine implements the private methods; the public ones are templates that no engine overrides, because
they keep the promises: one answer per host asked for, none from anybody else, and none later than the
deadline.

    for host_id, answer in backend.run(work, hosts, backend.new_handle(), time.monotonic() + 60):
        ...

All public methods may be called from several threads at once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..contract.work import Answer, Put, Run, Script, Work
from .options import Setting, read_settings

log = logging.getLogger(__name__)

Proof = Literal["stopped", "still_running", "not_started", "unknown"]
NoOutput = Literal["unreachable", "timed_out", "unknown", "not_started"]

#: Seconds between two looks at the hosts that have not answered.
LOOK_EVERY = 0.5


class ConnectionDown(ConnectionError):
    """The engine's own control point is down, and nothing was sent to any host."""


def no_output(state: NoOutput, reason: str, seconds: float = 0.0) -> Answer:
    """An answer about a host of which there is nothing to show but *reason*."""
    return Answer(state, seconds=seconds, reason=reason)


@dataclass(frozen=True)
class Target:
    """A host as a connection sees it: ``id`` is ours, ``remote_id`` the engine's (Salt: the minion id)."""

    id: str
    name: str
    remote_id: str = ""
    address: str = ""


@dataclass(frozen=True)
class FoundHost:
    """A host that an engine knows of: *remote_id* is the engine's name for it, *name* what we would call it.

    *facts* may hold ``os``, ``os_family``, ``osrelease``; *groups* are the engine's own.
    """

    remote_id: str
    name: str
    address: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


class NoInventory(LookupError):
    """Connections of this kind keep no list of hosts."""


@dataclass(frozen=True)
class Reachability:
    """Whether a connection's control point is up; if not, ``reason`` is one line for people."""

    up: bool
    reason: str = ""


class Flight:
    """One dispatch under way. The engine puts in what it hears; the template takes out one answer per host.

    ``deadline`` is a ``time.monotonic()`` moment. Everything here may be called from any thread.
    """

    def __init__(self, work: Work, hosts: Sequence[Target], handle: str, deadline: float) -> None:
        self.work = work
        self.handle = handle
        self.deadline = deadline
        self.started = time.monotonic()
        self.hosts = {host.id: host for host in hosts}
        self._missing = dict(self.hosts)
        self._reached: dict[str, str] = {}
        self._first: dict[str, int] = {}
        self._heard: queue.SimpleQueue[tuple[str, Answer]] = queue.SimpleQueue()

    def answer(self, host_id: str, answer: Answer) -> None:
        """A host, or the engine in its place, says how the work ended."""
        self._heard.put((host_id, answer))

    def reached(self, host_id: str, evidence: str) -> None:
        """There is *evidence* that the host got the work: at the deadline it has timed out, not vanished."""
        self._reached[host_id] = evidence

    def evidence(self, host_id: str) -> str:
        """What shows that the host got the work, or ``""``."""
        return self._reached.get(host_id, "")

    @property
    def missing(self) -> list[Target]:
        """The hosts whose answer is still to come."""
        return list(self._missing.values())

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come; unlike `missing` it costs nothing with very many hosts."""
        return bool(self._missing)

    @property
    def left(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def host_seconds(self) -> int:
        """Whole seconds after which the host itself ends the work, so that its answer is here in time."""
        own = self.work.timeout if self.work.timeout is not None else self.left
        return max(1, int(min(own, self.left - 1)))

    def take(self, timeout: float) -> tuple[str, Answer] | None:
        """The next first answer of a host that was asked, or None after *timeout* seconds."""
        end = time.monotonic() + timeout
        while True:
            try:
                host_id, answer = self._heard.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return None
            if self._missing.pop(host_id, None) is not None:
                self._first[host_id] = hash(answer)
                return host_id, answer
            self._drop(host_id, answer)

    def _drop(self, host_id: str, answer: Answer) -> None:
        """Note an answer that nobody gets: of a host that was not asked, or not the host's first."""
        if host_id not in self.hosts:
            log.warning("%s: host %r answered and was never asked; dropped", self.handle, host_id)
        elif self._first.get(host_id) == hash(answer):
            log.info("%s: host %s gave its answer again", self.handle, host_id)
        else:
            log.warning("%s: host %s gave another answer; the first one stands", self.handle, host_id)


class Backend(ABC):
    """One connection: a named way to reach hosts. Subclasses implement the private methods."""

    kind: ClassVar[str]
    #: What can be set of a connection of this kind.
    SETTINGS: ClassVar[tuple[Setting, ...]] = ()
    #: The kinds of work that this engine understands; any other is answered ``not_started``.
    WORKS: ClassVar[tuple[type[Work], ...]] = (Run, Script, Put)

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        """Does nothing slow and reaches nothing.

        Raises:
            ValueError: a setting is unknown, missing or wrong.
        """
        self.name = name
        self.settings = read_settings(name, self.SETTINGS, settings)
        self._flights: dict[str, list[Flight]] = {}
        self._flights_lock = threading.Lock()

    @abstractmethod
    def probe(self) -> Reachability:
        """Say within about 2 s whether the control point is up. Never raises for its being down."""

    def just_answered(self) -> bool:
        """Whether the control point has done something so lately that it need not be asked whether it is up.

        For kinds where asking costs more than a job may wait for.
        """
        return False

    def inventory(self, seconds: float) -> list[FoundHost]:
        """The hosts that the engine itself knows, with what facts it can tell within *seconds*.

        Raises:
            NoInventory: this kind keeps no list.
            ConnectionDown: the control point is down.
        """
        raise NoInventory(f"Connections of the kind {self.kind} keep no list of hosts.")

    def new_handle(self) -> str:
        """A handle for one dispatch, fixed before it, by which it can be found again after a crash."""
        return uuid.uuid4().hex

    def run(
        self, work: Work, hosts: Sequence[Target], handle: str, deadline: float
    ) -> Iterator[tuple[str, Answer]]:
        """Send *work* to *hosts* and give (host id, answer) as they come, exactly one per host.

        *deadline* is a ``time.monotonic()`` moment; the last answer is given then at the latest.
        Nothing is sent before the first answer is asked for.

        Raises:
            ConnectionDown: the control point is down and nothing was sent.
        """
        flight = Flight(work, hosts, handle, deadline)
        with self._aloft(flight):
            if not isinstance(work, self.WORKS):
                self._refuse(flight)
            elif hosts:
                self._dispatch(flight)
            yield from self._answers(flight)

    def reattach(
        self, handle: str, work: Work, hosts: Sequence[Target], deadline: float
    ) -> Iterator[tuple[str, Answer]]:
        """Like :meth:`run` for what was sent before under *handle*; sends nothing to run.

        It also collects what came after the deadline of :meth:`run`.

        Raises:
            ConnectionDown: the control point is down.
        """
        flight = Flight(work, hosts, handle, deadline)
        with self._aloft(flight):
            if hosts:
                self._collect(flight)
            yield from self._answers(flight)

    def cancel(self, handle: str, hosts: Sequence[Target]) -> dict[str, Proof]:
        """Stop what was sent under *handle*; say per host id what was proved. Takes 15 s at most.

        A stream of :meth:`run` that waits for such a host ends with a ``not_started`` or ``unknown`` answer.
        """
        try:
            proofs = dict(self._cancel(handle, hosts)) if hosts else {}
        except ConnectionDown as down:
            log.warning("%s: cancel: %s", handle, down)
            proofs = {}
        proved: dict[str, Proof] = {host.id: proofs.get(host.id, "unknown") for host in hosts}
        self._settle(handle, proved)
        return proved

    def close(self) -> None:  # noqa: B027 -- an engine without anything to close is whole
        """Let go of sockets, threads and processes. Streams under way end at their deadline."""

    @abstractmethod
    def _dispatch(self, flight: Flight) -> None:
        """Send ``flight.work`` and return; answers go to ``flight.answer`` from anywhere, any time.

        Raises:
            ConnectionDown: nothing was sent. After anything may have been sent, don't raise: answer.
        """

    @abstractmethod
    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        """Stop the work and prove it, within 15 s."""

    def _collect(self, flight: Flight) -> None:
        """Find ``flight.handle`` again and feed the flight. By default no engine can."""
        for host in flight.missing:
            reason = f"Was sent before a restart; {self.kind} can't be asked again what became of it."
            flight.answer(host.id, no_output("unknown", reason))

    def _look(self, flight: Flight) -> None:  # noqa: B027 -- most engines hear of everything by themselves
        """Called twice a second while hosts are missing: ask after them. Must not block for long."""

    def _silent(self, flight: Flight, host: Target) -> Answer:
        """The answer for *host*, unheard at the deadline; no evidence says that it got the work."""
        return no_output("unknown", "No answer by the deadline, nor a sign that the work arrived.")

    def _release(self, flight: Flight) -> None:  # noqa: B027 -- nothing to forget is the normal case
        """The flight is over: forget it."""

    def _refuse(self, flight: Flight) -> None:
        reason = (
            f"Connections of the kind {self.kind} can't do work of the kind {type(flight.work).__name__}."
        )
        for host in flight.missing:
            flight.answer(host.id, no_output("not_started", reason))

    def _answers(self, flight: Flight) -> Iterator[tuple[str, Answer]]:
        next_look = flight.started + LOOK_EVERY
        while flight.waits and flight.left:
            heard = flight.take(min(flight.left, max(0.0, next_look - time.monotonic())))
            if heard:
                yield heard
            elif time.monotonic() >= next_look:
                self._look(flight)
                next_look = time.monotonic() + LOOK_EVERY
        while flight.waits and (heard := flight.take(0)):
            yield heard
        for host in flight.missing:
            yield host.id, self._overdue(flight, host)

    def _overdue(self, flight: Flight, host: Target) -> Answer:
        evidence = flight.evidence(host.id)
        if not evidence:
            return self._silent(flight, host)
        return no_output("timed_out", f"Not finished by the deadline ({evidence}).")

    def _settle(self, handle: str, proved: Mapping[str, Proof]) -> None:
        with self._flights_lock:
            flights = list(self._flights.get(handle, ()))
        for flight in flights:
            for host_id, proof in proved.items():
                if host_id in flight.hosts and proof == "stopped":
                    flight.answer(host_id, no_output("unknown", "Stopped: the job was cancelled."))
                elif host_id in flight.hosts and proof == "not_started":
                    flight.answer(host_id, no_output("not_started", "The job was cancelled first."))

    @contextmanager
    def _aloft(self, flight: Flight) -> Iterator[None]:
        """Keep *flight* known for as long as somebody reads its answers."""
        with self._flights_lock:
            self._flights.setdefault(flight.handle, []).append(flight)
        try:
            yield
        finally:
            with self._flights_lock:
                self._flights[flight.handle].remove(flight)
                if not self._flights[flight.handle]:
                    del self._flights[flight.handle]
            self._release(flight)
