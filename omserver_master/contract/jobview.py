"""What ``after`` sees of a job: how it ended on each host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostView:
    """How the module ended on one host; *text* is `Ok`'s, or the beginning of the last standard output."""

    name: str
    ip: str
    state: str
    reason: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """All hosts of a job, in the job's order."""

    hosts: tuple[HostView, ...]

    def __iter__(self) -> Iterator[HostView]:
        return iter(self.hosts)

    @property
    def counts(self) -> dict[str, int]:
        """How many hosts ended in each state."""
        return dict(Counter(host.state for host in self.hosts))

    def with_state(self, state: str) -> tuple[HostView, ...]:
        """The hosts that ended as *state*: "ok", "failed", "skipped", "unreachable", "timed_out", ..."""
        return tuple(host for host in self.hosts if host.state == state)
