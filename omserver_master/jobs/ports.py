"""What the run of a job needs around it: a place to write, a child that runs code, ways to hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from omserver_master.backends.base import Backend

from .board import Ending, JobHost
from .dispatch import Dispatched


@dataclass(frozen=True)
class News:
    """What people want of the job."""

    cancel: bool = False
    """Whether it is to be cancelled."""
    paused_by: str | None = None
    """Who wants it to begin on no further host ("" where it asked for a go-ahead itself); None: nobody."""


class Recorder(Protocol):
    """Where a run writes what happened. Every method may raise :class:`~omserver_master.errors.LeaseLost`."""

    def dispatched(self, group: Dispatched) -> float:
        """Commit that these hosts are about to be given work. Returns only once it is durable.

        Returns:
            a ``time.monotonic()`` moment just before that commit, which renewed the claim.

        Raises:
            CancelAsked: the job is to be stopped; nothing may be sent.
            PauseAsked: a host would begin, and the job is to be paused; nothing of this may be sent.
        """

    def not_sent(self, host_ids: Iterable[int]) -> None:
        """Commit that these hosts were not given work after all."""

    def ended(self, host_id: int, ending: Ending) -> None:
        """Keep the ending of a host; durable after the next :meth:`flush`."""

    def flush(self, *, force: bool = False) -> None:
        """Commit what was kept when it is time to, or at once with *force*."""

    def explain(self, reason: str) -> None:
        """Commit the one line that says why the job waits, or ``""``."""

    def release(self, reason: str) -> None:
        """Commit everything kept, and give the job back for any worker to take up; *reason* says why."""

    def stand(self, state: str, reason: str, progress: Mapping[str, Any], *, ask: bool = False) -> None:
        """Commit everything kept, and where the job stands in its roll-out. With *ask* it is to be paused."""

    def news(self) -> News | None:
        """What people want of the job; None if that can't be known just now."""

    def cancelling(self) -> None:
        """Commit that the job is being cancelled."""

    def finish(self, state: str, reason: str) -> None:
        """Commit everything kept and the end of the job."""


class Code(Protocol):
    """The child process that runs the module's code for this job."""

    def send(self, order: Mapping[str, Any]) -> None:
        """Hand over a host's answer; what the code says to it comes into the inbox."""

    def kill(self) -> None:
        """End the code now."""


@dataclass(frozen=True)
class Way:
    """The connection that a host's work takes. *passed_over*: ``name: reason`` of each one before it."""

    connection_id: int
    backend: Backend
    passed_over: tuple[str, ...] = ()


class Roads(Protocol):
    """The connections of this site."""

    def choose(self, host: JobHost, but: Collection[int] = ()) -> Way | str:
        """The first connection of *host* whose control point is up, or the reason why none is.

        Args:
            but: the ids of connections that are not to be taken.
        """

    def backend(self, connection_id: int) -> Backend | None:
        """The engine of a connection, up or not; None if it is turned off or gone."""

    def why_down(self, connection_id: int) -> str:
        """Why a connection cannot be used just now, with its name; ``""`` when it can."""
