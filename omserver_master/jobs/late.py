"""Answers that come late: after a job, engines are asked once more about hosts whose end is uncertain.

A host that had not answered by its time ended `timed_out`, `unreachable` or `unknown`, though its work may
have come to its end since. Nothing is sent for that: the engine is asked by the handle of then. The module's
code, begun anew for these hosts, says what an answer means; a further step of it is never begun.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, RowMapping

from omserver_client.errors import Unavailable
from omserver_master.contract.work import Work
from omserver_master.errors import CancelAsked, LeaseLost
from omserver_master.registry.pool import ChildPool
from omserver_master.registry.variants import unbundle
from omserver_master.store import clock, jobs, modules, results
from omserver_master.store import engine as store
from omserver_master.store.results import UNCERTAIN
from omserver_master.store.sitekey import SiteKey

from . import left
from .board import Ending, Seat
from .claimed import code_for, kinds_of, start_order
from .dispatch import Dispatched
from .execution import ChildSaid, JobRun
from .ports import News
from .recorder import sealed
from .roads import SiteRoads
from .takeover import CUT_OFF, CUT_SHORT

log = logging.getLogger(__name__)

#: Seconds after a job's end at which its hosts are asked after.
MOMENTS: Final = (30.0, 120.0, 600.0)
NEVER_SENT: Final = "It turned out later that nothing of it had reached the host."
NO_FURTHER: Final = "It answered step {} late: the job was over, and its next step was not begun."
NOT_VERIFIED: Final = "It answered late: the job was over, and it was not verified."


class LateAnswers:
    """What a worker asks after when jobs are over.

    Args:
        ask: as `Asking.ask`.
    """

    def __init__(self, engine: Engine, ask: Callable[[int], bool]) -> None:
        self._engine = engine
        self._ask = ask
        self._new = True
        self._due: dict[int, list[float]] = {}
        self._lock = threading.Lock()

    def note(self, job_id: int) -> None:
        """A job is over, and the ends of some of its hosts are uncertain. From any thread."""
        now = time.monotonic()
        with self._lock:
            self._due[job_id] = [now + moment for moment in MOMENTS]

    def _note_all(self) -> None:
        """As `note`, for jobs that were over lately: their workers may be gone."""
        with store.read(self._engine) as conn:
            found = results.uncertain_since(conn, clock.now(conn) - MOMENTS[-1])
        for job_id in found:
            self.note(job_id)

    def look(self) -> None:
        """Ask after the hosts whose time it is; takes half a minute at most for each job.

        Raises:
            Unavailable: the database cannot be read.
        """
        if self._new:
            self._note_all()
            self._new = False
        for job_id in self._take_due():
            if not self._ask(job_id):
                with self._lock:
                    self._due.pop(job_id, None)

    def _take_due(self) -> list[int]:
        now, due = time.monotonic(), []
        with self._lock:
            for job_id, moments in list(self._due.items()):
                left = [moment for moment in moments if moment > now]
                if len(left) < len(moments):
                    due.append(job_id)
                self._due[job_id] = left
                if not left:
                    del self._due[job_id]
        return due


class LateRun(JobRun):
    """Asks after the hosts of a job that is over, and ends with them."""

    def _put(self, seat: Seat, work: Work) -> None:
        """A further step is not begun."""
        self._end(seat, Ending.of("failed", NO_FURTHER.format(seat.step - 1), seat.answer))

    def _let_code_end(self) -> None:
        """The module's code has said what the answers mean: its ``after`` saw the job end long ago."""
        self._end_code()


class LateRecorder:
    """The :class:`~.ports.Recorder` of a job that is over: it keeps what is certain now, and sends nothing.

    Args:
        job: its row.
        steps: the number of the step that each host was at, by its id.
    """

    def __init__(
        self,
        engine: Engine,
        site_key: SiteKey,
        job: RowMapping,
        steps: Mapping[int, int],
        announce: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._site_key = site_key
        self._job = job
        self._steps = steps
        self._announce = announce
        self._kept: list[results.HostResult] = []

    def ended(self, host_id: int, ending: Ending) -> None:
        if ending.state not in UNCERTAIN:
            self._kept.append(sealed(self._site_key, host_id, self._meant(host_id, ending)))

    def _meant(self, host_id: int, ending: Ending) -> Ending:
        """What the *ending* means for a job that is over."""
        step = self._steps[host_id]
        late = replace(ending, late=True)
        if ending.reason in (CUT_OFF, CUT_SHORT.format(step - 1, step)):
            return replace(late, reason=NEVER_SENT)
        if self._job["cancel_asked"] and ending.state == "failed" and ending.rc != 0:
            return replace(late, state="cancelled", reason="Stopped by the cancel.")
        if ending.state == "ok" and (self._job["rollout"] or {}).get("verify"):
            return replace(late, reason=NOT_VERIFIED)
        return late

    def finish(self, state: str, reason: str) -> None:
        """Commit what is certain now; the job's own end stays."""
        self._store()

    def release(self, reason: str) -> None:
        self._store()

    def _store(self) -> None:
        def keep(conn: Connection) -> list[int]:
            return results.store_results(conn, self._job["id"], self._job["attempt"], self._kept)

        if self._kept:
            stored = store.transact(self._engine, keep)
            log.info("job %d: %d hosts answered late", self._job["id"], len(stored))
            self._announce(self._job["id"])

    def dispatched(self, group: Dispatched) -> float:
        raise CancelAsked  # the job is over

    def not_sent(self, host_ids: Iterable[int]) -> None: ...

    def flush(self, *, force: bool = False) -> None: ...

    def explain(self, reason: str) -> None: ...

    def stand(self, state: str, reason: str, progress: Mapping[str, Any], *, ask: bool = False) -> None: ...

    def news(self) -> News:
        return News()

    def cancelling(self) -> None: ...


@dataclass(frozen=True)
class Asking:
    """What it takes to ask after the hosts of jobs that are over."""

    engine: Engine
    site_key: SiteKey
    pool: ChildPool
    roads: SiteRoads
    modules_dir: Path
    announce: Callable[[int], None]

    def ask(self, job_id: int) -> bool:
        """Ask once, and keep what is certain now; whether another try may be worth it."""
        try:
            return self._ask(job_id)
        except Unavailable as error:
            log.warning("job %d: late answers could not be asked for: %s", job_id, error)
            return True
        except LeaseLost:  # the job was removed meanwhile
            return False

    def _ask(self, job_id: int) -> bool:
        with store.read(self.engine) as conn:
            row = jobs.job_row(conn, job_id)
            if row is None or row["finished"] is None or row["direct"]:
                return False
            before = left.read_late(conn, self.site_key, row, self.roads.ids())
            source = modules.source_of(conn, row["module"], row["module_sha256"])
            if not before.seats or source is None:
                return False
            kinds = kinds_of(conn, before) if unbundle(source.encode()) else None
        steps = {seat.host.id: seat.step for seat in before.seats}
        recorder = LateRecorder(self.engine, self.site_key, row, steps, self.announce)
        code = code_for(self.pool, row, kinds)
        limits = {"timeout": float(row["timeout"]), "start_by": row["start_before"]}
        run = LateRun(before.seats, code, self.roads, recorder, **limits)
        order = {**start_order(row, self.modules_dir, before, source), "late": True}
        try:
            code.start(order, lambda message: run.inbox.put(ChildSaid(message)))
            run.run()
        finally:
            code.close()
        return True
