"""How a job goes over its hosts: in which batches, when the next one begins, and when it goes no further.

Pure logic: it is told what happened and what time it is, and answers what to do. What it can't tell from the
hosts' rows (whether it has asked, since when it waits) is its :attr:`Rollout.progress`, which is written down
at each move, so that another worker goes on from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from omserver_master.contract.rollout import PAUSE_LIMIT, number_of

from .states import FINAL_HOST

#: Ends that count when it is said after how many to stop.
FAILURES: Final = frozenset({"failed", "timed_out", "unknown"})
#: Ends of a canary after which the others may follow.
_GOOD: Final = frozenset({"ok", "skipped"})

Move = Literal["begin", "ask", "wait", "stop"]


@dataclass
class Progress:
    """Where a job stands in its roll-out. Moments are unix seconds."""

    batch: int = 0
    """The batch at work, from 0."""
    since: float = 0.0
    """When it began, or went on after a pause; 0: with the job."""
    over: float | None = None
    """When all of it had ended."""
    asked: bool = False
    """Whether a go-ahead was asked for; it was given if the job is no longer to be paused."""
    paused_since: float | None = None
    stopped: str = ""
    """Why no other host begins."""
    done: int = 0
    """How far it was when a worker took it up; see `.deaths`."""
    deaths: int = 0
    """So many workers died since, and it got no further."""
    released: int = 0
    """The last claim that ended with the worker's giving the job back."""

    @property
    def stands(self) -> bool:
        """Whether it says anything about the roll-out."""
        return replace(self, done=0, deaths=0, released=0) != Progress()


class Rollout:
    """The roll-out of one job; without options, one batch of all hosts, which can still be paused.

    Args:
        options: as `freeze` made them, or None.
        hosts: the ids of the job's hosts in their order, and where each stands.
        progress: what was written down last, or None.
        patience: seconds within which a batch's hosts must begin.

    `start` comes first, once it is known whether somebody has paused the job.
    """

    def __init__(
        self,
        options: Mapping[str, Any] | None,
        hosts: Iterable[tuple[int, str]],
        progress: Mapping[str, Any] | None = None,
        *,
        patience: float = math.inf,
    ) -> None:
        self.options = options
        self.progress = Progress(**(progress or {}))
        self.paused = False
        self.by = ""
        self._patience = patience
        self._batches: list[list[int]] = []
        self._batch_of: dict[int, int] = {}
        self._open: list[int] = []
        self._failures = 0
        self._limit: int | None = None
        self._bad_canary = ""
        if options is not None:
            self._arrange(options, list(hosts))

    def _arrange(self, options: Mapping[str, Any], hosts: Sequence[tuple[int, str]]) -> None:
        self._batches = batches(options, [host_id for host_id, _ in hosts])
        self._batch_of = {id_: number for number, batch in enumerate(self._batches) for id_ in batch}
        self._open = [len(batch) for batch in self._batches]
        self._counted = FAILURES | ({"unreachable"} if options.get("unreachable_counts") else set())
        if "stop_after" in options:
            self._limit = number_of(options["stop_after"], len(hosts))
        for host_id, state in hosts:
            if state in FINAL_HOST:
                self.ended(host_id, state)

    # -- what it is told

    def start(self, paused_by: str | None, now: float) -> None:
        """Begin, or go on where another worker was; *paused_by* is None where the job is not to be paused."""
        if paused_by is not None:
            self.pause(paused_by, now)
        elif self.progress.paused_since is not None:  # it was resumed while it had no worker
            self.paused = True
            self.resume(now)

    def ended(self, host_id: int, state: str) -> None:
        """A host has its end."""
        if self.options is None:
            return
        batch = self._batch_of[host_id]
        self._open[batch] -= 1
        self._failures += state in self._counted
        if batch == 0 and self._stops_at_canary and state not in _GOOD and not self._bad_canary:
            self._bad_canary = state.replace("_", " ")

    def pause(self, by: str, now: float) -> bool:
        """Begin on no further host; *by* is who wants it, "" for its own question. True: that is new."""
        if self.paused and by == self.by:
            return False
        self.paused, self.by = True, by
        if self.progress.paused_since is None:
            self.progress.paused_since = now
        return True

    def resume(self, now: float) -> bool:
        """Go on. True: it was paused."""
        if not self.paused:
            return False
        self.paused, self.by = False, ""
        self.progress.paused_since = None
        self.progress.since = now
        return True

    # -- what it answers

    def admits(self, host_id: int) -> bool:
        """Whether work may begin on this host now."""
        if self.paused or self.progress.stopped:
            return False
        return self.options is None or self._batch_of[host_id] <= self.progress.batch

    @property
    def hosts(self) -> Sequence[int]:
        """The batch at work."""
        return self._batches[self.progress.batch] if self._batches else ()

    @property
    def start_by(self) -> float:
        """The moment by which what may begin must have begun, once the job itself has."""
        return self.progress.since + self._patience if self.progress.since else 0.0

    def move(self, now: float) -> Move | None:
        """What happens now, if anything: it has happened when this returns."""
        if self.progress.stopped:
            return None
        if why := self._why_stop(now):
            self.progress.stopped = why
            return "stop"
        if self.paused or self.options is None or not self._batch_over:
            return None
        if self.options.get("ask") and self.progress.batch == 0 and not self.progress.asked:
            self.progress.asked, self.progress.over = True, now
            self.pause("", now)
            return "ask"
        return self._next(now)

    def _next(self, now: float) -> Move | None:
        new = self.progress.over is None
        if self.progress.over is None:
            self.progress.over = now
        if now < self._next_at:
            return "wait" if new else None
        self.progress.batch, self.progress.since, self.progress.over = self.progress.batch + 1, now, None
        return "begin"

    def _why_stop(self, now: float) -> str:
        since, limit = self.progress.paused_since, self._pause_limit
        if self.paused and since is not None and now >= since + limit:
            if not self.by:
                return f"Stopped: nobody gave the go-ahead within {_span(limit)}."
            return f"Stopped: {self.by} paused it, and nobody resumed it within {_span(limit)}."
        if self.options is None or self._last:
            return ""
        if self._bad_canary:
            return f"Stopped: a canary ended {self._bad_canary}."
        if self._limit is not None and self._failures >= self._limit:
            if self._failures == 1:
                return f"Stopped after 1 failure (limit {self._limit})."
            return f"Stopped after {self._failures} failures (limit {self._limit})."
        return ""

    @property
    def state(self) -> str:
        """The state of the job."""
        return "paused" if self.paused and not self.progress.stopped else "running"

    @property
    def line(self) -> str:
        """What the job waits for, in one line; "" where nothing is left to begin."""
        if self.progress.stopped:
            return self.progress.stopped
        if self.paused:
            return f"Paused by {self.by}." if self.by else self._question
        return "" if self.options is None or self._last else self._next_line

    @property
    def _question(self) -> str:
        first = self._number(0)
        if first:
            return f"Waits for a go-ahead after batch {first}."
        return "Waits for a go-ahead after the canary."

    @property
    def _next_line(self) -> str:
        """When the next batch starts."""
        index = self.progress.batch
        number, following, count = map(self._number, (index, index + 1, len(self._batches) - 1))
        if self.progress.over is not None:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(math.ceil(self._next_at)))
            return f"Batch {following} of {count} starts at {at} UTC."
        if not number:
            return f"Batch {following} of {count} starts when the canary ends."
        return f"Batch {following} of {count} starts when batch {number} ends."

    def written(self) -> dict[str, Any]:
        """The progress as it is written down."""
        return asdict(self.progress)

    @property
    def _batch_over(self) -> bool:
        return not self._last and not self._open[self.progress.batch]

    @property
    def _last(self) -> bool:
        return self.progress.batch >= len(self._batches) - 1

    @property
    def _next_at(self) -> float:
        return (self.progress.over or 0.0) + float((self.options or {}).get("wait", 0))

    @property
    def _pause_limit(self) -> float:
        return float((self.options or {}).get("pause_limit", PAUSE_LIMIT))

    @property
    def _stops_at_canary(self) -> bool:
        """Whether a canary that does not end well stops the others: nobody said how else it would count."""
        options = self.options or {}
        return "first" in options and not options.get("ask") and "stop_after" not in options

    def _number(self, index: int) -> int:
        """The number of a batch as people count: the canary is not one of them."""
        return index + ("first" not in (self.options or {}))


def batches(options: Mapping[str, Any], host_ids: Sequence[int]) -> list[list[int]]:
    """The hosts of each batch, in their order: the canary first, never two of one group together."""
    canary = set(options.get("first", ()))
    size = number_of(options["batch"], len(host_ids)) if "batch" in options else len(host_ids)
    groups = enumerate(options.get("groups", ()))
    group_of = {host_id: number for number, group in groups for host_id in group}
    found: list[list[int]] = []
    room = _Room(size)
    for host_id in host_ids:
        if host_id in canary:
            continue
        index = room.take(group_of.get(host_id))
        if index == len(found):
            found.append([])
        found[index].append(host_id)
    first = [[host_id for host_id in host_ids if host_id in canary]] if canary else []
    return first + found


class _Room:
    """Finds for each host the first batch that is not full and has none of its group."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken: list[int] = []
        self._beyond: list[int] = []
        self._after: dict[int, int] = {}

    def take(self, group: int | None) -> int:
        index = self._not_full(self._after.get(group, 0) if group is not None else 0)
        if index == len(self._taken):
            self._taken.append(0)
            self._beyond.append(index)
        self._taken[index] += 1
        if self._taken[index] >= self._size:
            self._beyond[index] = index + 1
        if group is not None:
            self._after[group] = index + 1
        return index

    def _not_full(self, start: int) -> int:
        """The first batch from *start* on that has room; paths are shortened on the way."""
        index = start
        while index < len(self._beyond) and self._beyond[index] != index:
            index = self._beyond[index]
        while start < index:
            self._beyond[start], start = index, self._beyond[start]
        return index


def _span(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
