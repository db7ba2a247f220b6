"""The board of one running job: where each of its hosts stands, kept by one thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from omserver_master.contract.work import Answer

from .states import FINAL_HOST

#: Characters of a reason; it is a line for people.
LONGEST_REASON = 1000


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


@dataclass
class Seat:
    """One host's place on the board."""

    host: JobHost
    state: str = "pending"
    answer: Answer | None = None
    handle: str = ""
    connection_id: int | None = None
    sent: bool = False
    """Whether anything was ever handed to an engine for this host."""


@dataclass
class Board:
    """All seats of a job."""

    seats: dict[int, Seat] = field(default_factory=dict)

    @classmethod
    def of(cls, hosts: Iterable[JobHost]) -> Board:
        return cls({host.id: Seat(host) for host in hosts})

    def __post_init__(self) -> None:
        self._by_name = {seat.host.name: seat for seat in self.seats.values()}

    def named(self, name: str) -> Seat | None:
        return self._by_name.get(name)

    def open(self) -> list[Seat]:
        """The hosts without a final state, in the order of the job."""
        return [seat for seat in self.seats.values() if seat.state not in FINAL_HOST]

    def counts(self) -> Counter[str]:
        return Counter(seat.state for seat in self.seats.values())
