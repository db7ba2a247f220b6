"""A worker: claims queued jobs, runs each in a thread, and keeps its claims alive.

Several workers share one database and never each other's memory. A claim is a lease of ``LEASE`` seconds
by the database's clock; a worker that loses it stops writing, and whoever finds an expired lease takes the
job up where it was left.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection, Engine, RowMapping

from omserver_client.errors import Unavailable
from omserver_master.errors import LeaseLost
from omserver_master.failpoints import reach
from omserver_master.memory import share_arenas
from omserver_master.registry.pool import ChildPool
from omserver_master.settings import Settings
from omserver_master.store import engine as store
from omserver_master.store import leases, workers
from omserver_master.store.limits import Limits
from omserver_master.store.sitekey import SiteKey, read_site_key

from . import again, claiming, settling
from .bell import ANY, PASS_ON, Bell
from .claimed import ClaimedJob
from .claiming import MOST_JOBS
from .late import Asking, LateAnswers
from .recorder import LEASE
from .roads import SiteRoads
from .seen import Seen

log = logging.getLogger(__name__)

#: Seconds between two renewals of a claim, and between two looks for what nobody will do any more.
HEARTBEAT = 10.0
SWEEP = 5.0
#: Seconds between two looks at the queue when no bell rings.
IDLE_LOOK = 0.5
#: Seconds that running jobs get to write their end when the worker is stopped.
STOP_LIMIT = 5.0
#: Jobs that are taken in one transaction at most: the others are for the next worker that looks.
AT_ONCE = 4
#: Jobs that one worker has at once, with those that are paused: they take hardly anything.
MOST_HELD = 50


class Worker:
    """One worker process's whole work; :meth:`run` returns after :meth:`stop`.

    Args:
        bell: rung by the master when there is something new, and rung back after each commit.
        parent: the master's process id, whose end is ours; by default that of our parent now.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        engine: Engine,
        pool: ChildPool,
        bell: Bell | None,
        parent: int | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._engine = engine
        self._pool = pool
        self._bell = bell
        self._most = Limits(settings.max_jobs_per_person, settings.max_jobs)
        # The master may have died while we were starting: then our parent is somebody else by now.
        self._parent = parent or os.getppid()
        self._stop_asked = False
        self._site_key: SiteKey = read_site_key(settings.site_key)
        self._roads = SiteRoads(engine, self._site_key, settings.machine)
        late = Asking(engine, self._site_key, pool, self._roads, settings.modules_dir, self.announce)
        self._late = LateAnswers(engine, late.ask)
        self._seen = Seen()
        # One job can be in it twice for a moment: claimed anew here, and its lost claim not noticed yet.
        self._jobs: set[ClaimedJob] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._free = threading.Event()
        # Rung for a new job that was not passed on yet; for one that was not looked for yet.
        self._full = self._rung = self._sure = False

    def run(self) -> None:
        """Work until told to stop, then let running jobs write their end."""
        # What is loaded by now stays. Without it to look at, the collector comes sooner to what jobs leave.
        gc.freeze()
        share_arenas()
        chores = [
            self._chore(HEARTBEAT, self._renew),
            self._chore(SWEEP, self._sweep),
            self._chore(SWEEP, self._late.look),
        ]
        while not self._stop_asked and os.getppid() == self._parent:
            if not self._claim_some():
                self._rest()
        self._finish_orphaned()
        self._stop_jobs()
        for chore in chores:
            chore.join(1.0)
        self._roads.close()

    def stop(self) -> None:
        """End :meth:`run` within about a second. From any thread or a signal handler.

        It only sets a flag: a handler that takes a lock can meet itself holding it.
        """
        self._stop_asked = True

    def announce(self, job: int = ANY) -> None:
        """Something was committed that others may wait for."""
        if self._bell is not None:
            self._bell.ring(job)

    # -- claiming

    def _claim_some(self) -> bool:
        room = self._room()
        self._full = room <= 0
        if self._full and (room := self._room()) <= 0:  # none has ended before it was said that this matters
            self._pass_on()
            return False
        sure, self._sure = self._sure, False
        try:
            found = room if sure else self._found(room)
            rows = store.transact(self._engine, partial(self._claim, most=found)) if found else []
        except Unavailable as error:
            log.warning("cannot look at the queue: %s", error)
            self._stopped.wait(1.0)
            return False
        for row in rows:
            reach("claim.after_commit")
            self._start(row)
        # Who has taken all that there was is rung for what comes.
        return bool(rows) and (len(rows) == room or self._goes_alone(rows[-1]))

    def _found(self, room: int) -> int:
        """How many jobs there may be, up to *room*: a look takes no lock, where SQLite has one for all."""
        with store.look(self._engine) as conn:
            return claiming.may_find(conn, room, self._settings.machine)

    def _pass_on(self) -> None:
        """There is no room here for a job that we were rung for."""
        if self._rung and self._bell is not None:
            self._bell.ring(PASS_ON)
        self._rung = False

    def _room(self) -> int:
        """How many more jobs may be taken now."""
        held = self._running()
        return min(MOST_HELD - len(held), MOST_JOBS - sum(not job.paused for job in held), AT_ONCE)

    def _claim(self, conn: Connection, most: int) -> list[RowMapping]:
        """The oldest jobs that nobody has: new, given back, or left by a worker that is gone.

        Only one where locks or people are held for it: two workers could hold what the other one wants.
        """
        rows: list[RowMapping] = []
        mine = self.name, LEASE, self._most, self._settings.machine
        while len(rows) < most and (row := claiming.claim(conn, *mine)) is not None:
            reach("claim.before_commit")
            rows.append(row)
            if self._goes_alone(row):
                break
        return rows

    def _goes_alone(self, row: RowMapping) -> bool:
        """Whether no other job is claimed in the same transaction."""
        return bool(row["lock_mode"] or self._most.per_person)

    def _start(self, row: RowMapping) -> None:
        site = self._engine, self._site_key, self._pool, self._roads, self._settings.modules_dir, self._seen
        job = ClaimedJob(row, *site, self.announce, self._settings.on_pause)
        with self._lock:
            self._jobs.add(job)
        threading.Thread(target=self._run_job, args=(job,), name=f"job {job.id}", daemon=True).start()

    def _run_job(self, job: ClaimedJob) -> None:
        try:
            job.run()
            if job.uncertain:
                self._late.note(job.id)
        except LeaseLost:
            log.warning("job %d was taken over by another worker", job.id)
        except Exception:
            # Whatever breaks here leaves a lease that runs out; the job is settled then, never forgotten.
            log.exception("job %d broke inside", job.id)
        finally:
            with self._lock:
                self._jobs.discard(job)
            self._free.set()
            if self._full and self._bell is not None:
                self._bell.end_wait()

    def _rest(self) -> None:
        if self._bell is None:
            self._free.wait(IDLE_LOOK)
            self._free.clear()
            return
        heard = self._bell.wait(IDLE_LOOK)
        self._rung = self._sure = ANY in heard
        for job in self._running() if heard else ():
            if job.id in heard:
                job.wake()

    # -- keeping claims, and settling those of others that ran out

    def _chore(self, every: float, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._repeat, args=(every, work), name=work.__name__, daemon=True)
        thread.start()
        return thread

    def _repeat(self, every: float, work: Callable[[], None]) -> None:
        while True:
            try:
                work()
            except Unavailable as error:
                log.warning("the database is not available: %s", error)
            except Exception:
                log.exception("a chore of the worker failed; it is tried again")
            if self._stopped.wait(every):
                return

    def _renew(self) -> None:
        store.transact(self._engine, lambda conn: workers.beat(conn, self.name, self._settings.machine))
        for job in self._running():
            try:
                self._renew_one(job)
            except LeaseLost:
                # Its next look at the database says the same to the run; no write of it is taken any more.
                log.warning("job %d: the claim is lost", job.id)
                job.wake()

    def _renew_one(self, job: ClaimedJob) -> None:
        def renew(conn: Connection) -> None:
            leases.renew_lease(conn, job.id, self.name, job.attempt, LEASE)
            reach("renew.before_commit")

        store.transact(self._engine, renew)

    def _sweep(self) -> None:
        if settling.settle_all(self._engine, self.name) + again.try_again_all(self._engine):
            self.announce()

    def _running(self) -> list[ClaimedJob]:
        with self._lock:
            return list(self._jobs)

    def _finish_orphaned(self) -> None:
        """The master is gone: end what was begun, and take nothing new."""
        while self._running() and not self._stop_asked:
            self._free.wait(IDLE_LOOK)
            self._free.clear()
        self._stopped.set()

    def _stop_jobs(self) -> None:
        for job in self._running():
            job.stop()
        end = time.monotonic() + STOP_LIMIT
        while self._running() and time.monotonic() < end:
            self._free.wait(0.05)
            self._free.clear()
