"""The board of one running job: where each of its hosts stands, kept by one thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omserver_master.contract.work import Answer

from .states import FINAL_HOST

#: Seconds that a module's timeout leaves for the way there and back: what is silent is final a second later.
MARGIN = 4.0
#: Characters of a reason; it is a line for people.
LONGEST_REASON = 1000
BETWEEN_STEPS = "Cancelled between two steps."
BETWEEN_TRIES = "Cancelled before its next try; what became of the one before is not known."


@dataclass(frozen=True)
class JobHost:
    """A host of a job, as frozen at submit, with its ordered ways to be reached."""

    id: int
    name: str
    ip: str
    os: str
    os_family: str
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Route:
    """One way to reach a host: the connection's id and the id by which its engine knows the host."""

    connection_id: int
    remote_id: str


@dataclass(frozen=True)
class Ending:
    """What is stored for a host when it is done."""

    state: str
    reason: str = ""
    rc: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    stdout_cut: int = 0
    stderr_cut: int = 0
    late: bool = False

    def __post_init__(self) -> None:
        if self.state not in FINAL_HOST:
            raise ValueError(f"{self.state!r} is no way to end.")
        object.__setattr__(self, "reason", str(self.reason)[:LONGEST_REASON])

    @classmethod
    def told(cls, result: Mapping[str, Any]) -> Ending:
        """The end of a host as a module told it that reached the host by itself."""
        return cls(
            result["state"],
            result.get("reason", ""),
            result.get("rc"),
            str(result.get("stdout", "")).encode("utf-8", "surrogateescape"),
            str(result.get("stderr", "")).encode("utf-8", "surrogateescape"),
        )

    @classmethod
    def proved(cls, proof: str) -> Ending:
        """The end of a host of which a cancel proved something."""
        endings = {
            "stopped": ("cancelled", "Proved stopped on the host."),
            "not_started": ("not_started", "Cancelled before it began on the host."),
            "still_running": ("unknown", "The host still runs it although it was told to stop."),
        }
        unproved = "unknown", "The host was told to stop and did not say whether it did."
        return cls(*endings.get(proof, unproved))

    @classmethod
    def of(cls, state: str, reason: str, answer: Answer | None, text: str = "") -> Ending:
        """The end of a host from its module's verdict, what that says beside, and its last answer."""
        if answer is None:
            return cls(state, reason, stdout=text.encode())
        return cls(
            state,
            reason or text or answer.reason,
            answer.rc,
            answer.stdout,
            answer.stderr,
            answer.stdout_cut,
            answer.stderr_cut,
            answer.late,
        )


@dataclass(frozen=True)
class LeftAt:
    """Where another worker left a host: what it was given, over which connection, under which handle.

    *work* is the hash of what was asked; *until* the ``time.monotonic()`` moment when its time is over.
    """

    connection_id: int | None
    remote_id: str
    handle: str
    work: str
    until: float


@dataclass(frozen=True)
class Step:
    """A step that was answered: its number, the hash of what was asked, over what, under which handle."""

    number: int
    work: str
    connection_id: int | None
    handle: str
    answer: Answer


@dataclass
class Seat:
    """One host's place on the board."""

    host: JobHost
    state: str = "pending"
    answer: Answer | None = None
    handle: str = ""
    connection_id: int | None = None
    step: int = 0
    """The number of the step that it is at, from 1."""
    done: Step | None = None
    """The step that was answered last, until it is written down with the next one."""
    left_at: LeftAt | None = None
    """Set until the engine has said what became of the work that another worker had sent."""
    sent: bool = False
    """Whether anything was ever handed to an engine for this host."""
    tried: str = ""
    """What is known of an earlier try of this step, which may have begun: "stopped", or "unknown"."""
    left: dict[int, str] = field(default_factory=dict)
    """The connections that it was on and that went down, and why."""
    passed_over: str = ""
    """The ways that it does not take, each with the reason, in one line."""

    def cut_short(self) -> Ending:
        """How it ends when it is cancelled while its next work waits to be sent."""
        if self.tried == "stopped":
            return Ending.proved("stopped")
        if self.tried:
            return Ending("unknown", BETWEEN_TRIES)
        if self.answer is not None or self.step > 1:
            return Ending.of("cancelled", BETWEEN_STEPS, self.answer)
        return Ending.proved("not_started")


@dataclass
class Board:
    """All seats of a job."""

    seats: dict[int, Seat] = field(default_factory=dict)

    @classmethod
    def of(cls, hosts: Iterable[JobHost | Seat]) -> Board:
        """A board of hosts that stand at the beginning, or where they were left."""
        seats = (Seat(host) if isinstance(host, JobHost) else host for host in hosts)
        return cls({seat.host.id: seat for seat in seats})

    def __post_init__(self) -> None:
        self._by_name = {seat.host.name: seat for seat in self.seats.values()}

    def named(self, name: str) -> Seat | None:
        return self._by_name.get(name)

    def open(self) -> list[Seat]:
        """The hosts without a final state, in the order of the job."""
        return [seat for seat in self.seats.values() if seat.state not in FINAL_HOST]

    def counts(self) -> Counter[str]:
        return Counter(seat.state for seat in self.seats.values())
