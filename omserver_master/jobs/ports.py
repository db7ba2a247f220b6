"""What the run of a job needs around it: a place to write, a child that runs code, ways to hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from omserver_master.backends.base import Backend

from .board import Ending, JobHost
from .dispatch import Dispatched


class Recorder(Protocol):
    """Where a run writes what happened. Every method may raise :class:`~omserver_master.errors.LeaseLost`."""

    def dispatched(self, group: Dispatched) -> None:
        """Commit that these hosts are about to be given work. Returns only once it is durable."""

    def not_sent(self, host_ids: Iterable[int]) -> None:
        """Commit that these hosts were not given work after all."""

    def ended(self, host_id: int, ending: Ending) -> None:
        """Keep the ending of a host; durable after the next :meth:`flush`."""

    def flush(self, *, force: bool = False) -> None:
        """Commit what was kept when it is time to, or at once with *force*."""

    def explain(self, reason: str) -> None:
        """Commit the one line that says why the job waits, or ``""``."""

    def news(self) -> bool:
        """Whether somebody asked to cancel the job."""

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


class Roads(Protocol):
    """The connections of this site."""

    def choose(self, host: JobHost) -> tuple[int, Backend] | str:
        """The first connection of *host* whose control point is up, or the reason why none is."""
