"""One claimed job in a worker: its hosts, the child that runs its module, and the run itself."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RowMapping

from omserver_client.errors import Unavailable
from omserver_master.contract.work import Answer
from omserver_master.failpoints import reach
from omserver_master.registry.pool import ChildPool
from omserver_master.registry.variants import unbundle
from omserver_master.store import connections, modules, pauses
from omserver_master.store import engine as store
from omserver_master.store.sitekey import SiteKey

from . import left, settling
from .bell import OVER
from .code import ModuleCode
from .deaths import MOST_DEATHS, counted
from .execution import ChildSaid, JobRun
from .left import Left
from .notice import Notices
from .recorder import LEASE, TRY_AGAIN, DatabaseRecorder
from .roads import SiteRoads
from .rollout import Progress, Rollout
from .seen import Seen
from .variantcode import VariantCode

log = logging.getLogger(__name__)

T = TypeVar("T")


class ClaimedJob:
    """A job that this worker holds the lease of."""

    def __init__(
        self,
        row: RowMapping,
        engine: Engine,
        site_key: SiteKey,
        pool: ChildPool,
        roads: SiteRoads,
        modules_dir: Path,
        seen: Seen,
        announce: Callable[[int], None],
        on_pause: Path | None = None,
    ) -> None:
        self._modules_dir = modules_dir
        self.id: int = row["id"]
        self.attempt: int = row["attempt"]
        self._row = row
        # By how much the database's clock is ahead of this process's, whose own may be wrong or be set.
        self._ahead: float = row["lease_until"] - LEASE - time.monotonic()
        self._engine = engine
        self._site_key = site_key
        self._pool = pool
        self._roads = roads
        self._announce = announce
        claim = self.id, self.attempt
        self._recorder = DatabaseRecorder(engine, site_key, *claim, roads.names, announce, seen)
        self._notices = Notices(on_pause, row)
        self._progress = Progress(**(row["progress"] or {}))
        self._run: JobRun | None = None
        self._lock = threading.Lock()
        self._told = ""

    def run(self) -> None:
        """Run the job to its end.

        Raises:
            LeaseLost: another worker has taken it over.
        """
        before, source, kinds = self._insist(self._read)
        reach("left.read")
        self._count_deaths(before)
        if why := self._why_not(before):
            store.transact(self._engine, lambda conn: settling.settle_lost(conn, self._row, why))
            self._announce(self.id | OVER)
            return
        self._recorder.started()
        if source is None:
            raise LookupError(f"the source of module {self._row['module']} was not kept")
        code = code_for(self._pool, self._row, kinds)
        try:
            self._run_with(code, before, source)
        finally:
            code.close()

    def _why_not(self, before: Left) -> str:
        """Why the job cannot be taken up where another worker left it; ``""`` if it can."""
        if self._row["direct"] and before.at_work:
            return "Its worker stopped while the module's own code reached this host."
        if self._progress.deaths >= MOST_DEATHS:
            return f"{MOST_DEATHS} workers stopped while they had this job."
        return ""

    def _count_deaths(self, before: Left) -> None:
        """Note whether the worker before died while it had this job and did not get it any further."""
        idle = self._row["state"] == "paused" or self._progress.over is not None
        progress = counted(self._progress, self.attempt, before.done, idle=idle)
        if progress != self._progress:
            self._progress = progress
            written = asdict(progress)
            store.transact(self._engine, lambda conn: pauses.keep(conn, self.id, self.attempt, written))

    @property
    def uncertain(self) -> bool:
        """Whether the end of some host may still be put right by a late answer. From any thread."""
        return self._run is not None and self._run.uncertain

    @property
    def paused(self) -> bool:
        """Whether it begins on no further host until somebody resumes it. From any thread."""
        return self._run is not None and self._run.paused

    def wake(self) -> None:
        """There may be news about this job in the database. From any thread."""
        self._tell("wake")

    def stop(self) -> None:
        """The worker is being stopped. From any thread."""
        self._tell("stop")

    def _tell(self, word: str) -> None:
        with self._lock:
            if self._run is None:
                self._told = word if self._told != "stop" else self._told
            else:
                getattr(self._run, word)()

    def _run_with(self, code: ModuleCode | VariantCode, before: Left, source: str) -> None:
        run = JobRun(
            before.seats,
            code,
            self._roads,
            self._recorder,
            timeout=float(self._row["timeout"]),
            start_by=self._row["start_before"],
            repeat=self._row["repeat"],
            direct=self._row["direct"],
            rollout=self._rollout(before),
            again=lambda answers: self._start_again(code, source, run, answers),
            notices=self._notices,
            clock=self._now,
        )
        with self._lock:
            self._run = run
            told = self._told
        if told:
            getattr(run, told)()
        code.start(self._start_message(before, source), lambda message: run.inbox.put(ChildSaid(message)))
        reach("code.started")
        run.run()

    def _start_again(
        self, code: ModuleCode | VariantCode, source: str, run: JobRun, answers: Mapping[str, Answer]
    ) -> None:
        """Start the code anew with all that is written down, and the *answers*, by host, that are not yet."""
        log.warning("job %d: the process of its module's code died; it is started anew", self.id)
        found = self._insist(self._left)
        replay = {name: list(steps) for name, steps in found.replay.items()}
        for name, answer in answers.items():
            replay.setdefault(name, []).append(answer.to_wire())
        order = {**self._start_message(found, source), "replay": replay}
        code.start(order, lambda message: run.inbox.put(ChildSaid(message)))

    def _left(self, conn: Connection) -> Left:
        """Where the job stands in the database."""
        return left.read(conn, self._site_key, self._row, self._roads.ids())

    def _read(self, conn: Connection) -> tuple[Left, str | None, dict[str, list[str]] | None]:
        """The same, the module's source, and by which connections it goes where that matters."""
        before = self._left(conn)
        source = modules.source_of(conn, self._row["module"], self._row["module_sha256"])
        return before, source, kinds_of(conn, before) if source and unbundle(source.encode()) else None

    def _insist(self, look: Callable[[Connection], T]) -> T:
        """Read, and wait for a database that can't be read.

        Raises:
            Unavailable: that lasted for as long as a claim does; by then the job is for anybody.
        """
        until = time.monotonic() + LEASE
        while True:
            try:
                with store.read(self._engine) as conn:
                    return look(conn)
            except Unavailable as error:
                if time.monotonic() >= until:
                    raise
                log.warning("job %d waits for the database: %s", self.id, error)
                time.sleep(TRY_AGAIN)

    def _rollout(self, before: Left) -> Rollout | None:
        """How the job goes on over its hosts; None where nobody ever said anything about that."""
        row = self._row
        if row["rollout"] is None and not self._progress.stands and not row["pause_asked"]:
            return None
        hosts = ((seat.host.id, seat.state) for seat in before.seats)
        patience = row["start_before"] - row["created"]
        rollout = Rollout(row["rollout"], hosts, asdict(self._progress), patience=patience)
        rollout.start(row["paused_by"] if row["pause_asked"] else None, self._now())
        return rollout

    def _now(self) -> float:
        """The time by the database's clock, in unix seconds."""
        return time.monotonic() + self._ahead

    def _start_message(self, before: Left, source: str) -> Mapping[str, Any]:
        return start_order(self._row, self._modules_dir, before, source)


def start_order(row: RowMapping, modules_dir: Path, before: Left, source: str) -> dict[str, Any]:
    """The order by which a child begins the module's code of the job *row*, from where *before* says."""
    return {
        "do": "start",
        "module": row["module"],
        "path": str(modules_dir / f"Mid_{row['module']}.py"),
        "sha256": row["module_sha256"],
        "source": base64.b64encode(source.encode()).decode(),
        "params": row["params"],
        "dry_run": row["dry_run"],
        "hosts": [
            {"id": str(h.id), "name": h.name, "ip": h.ip, "os": h.os, "os_family": h.os_family}
            for h in (seat.host for seat in before.seats)
        ],
        "ended": before.ended,
        "replay": before.replay,
    }


def code_for(
    pool: ChildPool, row: RowMapping, kinds: Mapping[str, list[str]] | None
) -> ModuleCode | VariantCode:
    """What runs the module's code; *kinds* as `kinds_of` says, None for a module of one file."""
    patience = float(row["timeout"])
    return ModuleCode(pool, patience) if kinds is None else VariantCode(pool, patience, kinds)


def kinds_of(conn: Connection, before: Left) -> dict[str, list[str]]:
    """The kinds of each host's enabled ways, by its name, for a module that has a file for each engine."""
    ways = connections.routes(conn, [seat.host.id for seat in before.seats])
    return {
        seat.host.name: [way["kind"] for way in ways[seat.host.id] if way["enabled"]] for seat in before.seats
    }
