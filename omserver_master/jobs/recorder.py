"""Writes what happens to one claimed job into the database, in batches, under this worker's fence.

While the database cannot take anything (down, disk full), endings are kept in memory and offered again;
nothing new is handed to any host in that time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from omserver_client.errors import Unavailable
from omserver_master.errors import LeaseLost
from omserver_master.failpoints import reach
from omserver_master.store import engine as store
from omserver_master.store import hosts, jobs, outputs, pauses, results
from omserver_master.store.sitekey import SiteKey
from omserver_master.store.steps import StepDone
from omserver_master.store.together import transact_together

from .bell import OVER
from .board import Ending, Step
from .dispatch import Dispatched
from .ports import News
from .seen import Seen

log = logging.getLogger(__name__)

#: Seconds of a claim.
LEASE = 30.0
#: Endings wait this long at most for others to share their transaction with, in seconds.
GATHER = 0.05
#: So many endings do not wait.
ENOUGH = 200
#: Seconds between two tries while the database takes nothing.
TRY_AGAIN = 1.0

T = TypeVar("T")


def sealed(site_key: SiteKey, host_id: int, ending: Ending) -> results.HostResult:
    """The end of a host as it is stored, its outputs compressed and encrypted."""
    return results.HostResult(
        host_id,
        ending.state,
        ending.reason,
        ending.rc,
        outputs.seal(site_key, ending.stdout),
        outputs.seal(site_key, ending.stderr),
        ending.stdout_cut,
        ending.stderr_cut,
        late=ending.late,
    )


class DatabaseRecorder:
    """The :class:`~.ports.Recorder` of one claim.

    Args:
        attempt: the claim's number; every write is refused once another worker has a higher one.
        announce: called with the job's id after each commit that others may wait for, as the bell has it.
        seen: which hosts were noted to have answered.
    """

    def __init__(
        self,
        engine: Engine,
        site_key: SiteKey,
        job_id: int,
        attempt: int,
        connection_names: Callable[[], dict[int, str]],
        announce: Callable[[int], None],
        seen: Seen,
    ) -> None:
        self._engine = engine
        self._site_key = site_key
        self._job_id = job_id
        self._attempt = attempt
        self._names = connection_names
        self._announce = announce
        self._seen = seen
        self._kept: list[results.HostResult] = []
        self._kept_since = 0.0
        self._not_before = 0.0
        self._start_due = float("inf")

    def started(self) -> None:
        """Note that a worker has begun: committed with the first dispatch, or alone if that takes longer."""
        self._start_due = time.monotonic() + GATHER

    def dispatched(self, group: Dispatched) -> float:
        self.flush(force=True)
        self._start_due = float("inf")
        before = 0.0
        name = "direct" if group.connection_id is None else self._names().get(group.connection_id, "")

        def mark(conn: Connection) -> None:
            nonlocal before
            before = time.monotonic()
            results.mark_dispatched(
                conn,
                self._job_id,
                group.host_ids,
                group.handle,
                name,
                self._attempt,
                remote_ids=group.remote_ids,
                passed_over=group.passed_over,
                work=group.work,
                step=group.step,
                done=[self._step(host_id, done) for host_id, done in group.done.items()],
                lease=LEASE,
                reason=group.reason,
                begins=group.begins,
            )

        self._insist(mark, "step" if group.done else "intent")
        return before

    def not_sent(self, host_ids: Iterable[int]) -> None:
        ids = list(host_ids)
        self._insist(lambda conn: results.mark_not_sent(conn, self._job_id, ids, self._attempt), "not_sent")

    def ended(self, host_id: int, ending: Ending) -> None:
        if not self._kept:
            self._kept_since = time.monotonic()
        self._kept.append(sealed(self._site_key, host_id, ending))

    def flush(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if now >= self._start_due and now >= self._not_before:
            self._commit_start("")
        due = force or len(self._kept) >= ENOUGH or now - self._kept_since >= GATHER
        if not self._kept or not due or now < self._not_before:
            return
        try:
            self._write(self._store, "results")
            self._stored()
        except Unavailable as error:
            self._not_before = now + TRY_AGAIN
            log.warning("job %d: %d endings wait in memory: %s", self._job_id, len(self._kept), error)

    def explain(self, reason: str) -> None:
        if self._start_due < float("inf"):
            self._commit_start(reason)
        else:
            self._insist(lambda conn: jobs.set_reason(conn, self._job_id, self._attempt, reason), "reason")

    def release(self, reason: str) -> None:
        """Commit everything kept, and give the job back for any worker to take up."""

        def give_back(conn: Connection) -> None:
            if self._kept:
                self._store(conn)
            pauses.give_back(conn, self._job_id, self._attempt, reason)

        self._insist(give_back, "release")
        self._stored()

    def stand(self, state: str, reason: str, progress: Mapping[str, Any], *, ask: bool = False) -> None:
        self.flush(force=True)
        self._start_due = float("inf")
        self._insist(
            lambda conn: pauses.stand(conn, self._job_id, self._attempt, state, reason, progress, ask=ask),
            "stand",
        )

    def news(self) -> News | None:
        try:
            with store.read(self._engine) as conn:
                found = jobs.claim_of(conn, self._job_id)
        except Unavailable:
            return None
        if found is None or found["attempt"] != self._attempt:
            raise LeaseLost
        return News(bool(found["cancel_asked"]), found["paused_by"] if found["pause_asked"] else None)

    def cancelling(self) -> None:
        self._start_due = float("inf")
        self._insist(
            lambda conn: jobs.set_state(conn, self._job_id, self._attempt, "cancelling", ""), "cancelling"
        )

    def finish(self, state: str, reason: str) -> None:
        """Commit the last endings and the job's end together."""

        def end(conn: Connection) -> None:
            stands = jobs.finish_job(conn, self._job_id, self._attempt, state, reason)
            if self._kept:
                results.store_under(conn, self._job_id, stands, self._kept)
                self._note_seen(conn)

        self._insist(end, "finish", self._job_id | OVER)
        self._stored()

    def _step(self, host_id: int, step: Step) -> StepDone:
        answer = step.answer
        return StepDone(
            host_id,
            step.number,
            step.work,
            self._names().get(step.connection_id or 0, ""),
            step.handle,
            answer.rc,
            outputs.seal(self._site_key, answer.stdout),
            outputs.seal(self._site_key, answer.stderr),
            answer.stdout_cut,
            answer.stderr_cut,
            answer.seconds,
        )

    def _store(self, conn: Connection) -> None:
        results.store_results(conn, self._job_id, self._attempt, self._kept)
        self._note_seen(conn)

    def _note_seen(self, conn: Connection) -> None:
        hosts.note_seen(conn, self._seen.due(self._answered()))

    def _stored(self) -> None:
        self._seen.note(self._answered())
        self._kept.clear()

    def _answered(self) -> list[int]:
        return [end.host_id for end in self._kept if end.rc is not None]

    def _commit_start(self, reason: str) -> None:
        self._start_due = float("inf")
        self._insist(
            lambda conn: jobs.set_state(conn, self._job_id, self._attempt, "running", reason), "start"
        )

    def _insist(self, work: Callable[[Connection], object], place: str, ring: int = 0) -> None:
        """Write, and wait for a database that takes nothing; its own limits and the lease bound the wait."""
        while True:
            try:
                self._write(work, place, ring)
                return
            except Unavailable as error:
                log.warning("job %d waits for the database: %s", self._job_id, error)
                time.sleep(TRY_AGAIN)

    def _write(self, work: Callable[[Connection], T], place: str, ring: int = 0) -> T:
        def write(conn: Connection) -> T:
            done = work(conn)
            reach(f"{place}.before_commit")
            return done

        done = transact_together(self._engine, write)
        reach(f"{place}.after_commit")
        self._announce(ring or self._job_id)
        return done
