"""One claimed job in a worker: its hosts, the child that runs its module, and the run itself."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping

from omserver_master.registry.pool import ChildPool
from omserver_master.store import connections, hosts, modules, results
from omserver_master.store import engine as store
from omserver_master.store.sitekey import SiteKey

from .board import JobHost, Route
from .code import ModuleCode
from .execution import ChildSaid, JobRun
from .recorder import DatabaseRecorder
from .roads import SiteRoads
from .states import OPEN_HOST


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
        announce: Callable[[], None],
    ) -> None:
        self._modules_dir = modules_dir
        self.id: int = row["id"]
        self.attempt: int = row["attempt"]
        self._row = row
        self._engine = engine
        self._pool = pool
        self._roads = roads
        self._recorder = DatabaseRecorder(engine, site_key, self.id, self.attempt, roads.names, announce)
        self._run: JobRun | None = None
        self._lock = threading.Lock()
        self._told = ""

    def run(self) -> None:
        """Run the job to its end.

        Raises:
            LeaseLost: another worker has taken it over.
        """
        with store.read(self._engine) as conn:
            job_hosts = _open_hosts(conn, self.id)
            source = modules.source_of(conn, self._row["module"], self._row["module_sha256"])
        self._recorder.started()
        if source is None:
            raise LookupError(f"the source of module {self._row['module']} was not kept")
        code = ModuleCode(self._pool, float(self._row["timeout"]))
        try:
            self._run_with(code, job_hosts, source)
        finally:
            code.close()

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

    def _run_with(self, code: ModuleCode, job_hosts: list[JobHost], source: str) -> None:
        run = JobRun(
            job_hosts,
            code,
            self._roads,
            self._recorder,
            timeout=float(self._row["timeout"]),
            start_by=self._row["start_before"],
            direct=self._row["direct"],
        )
        with self._lock:
            self._run = run
            told = self._told
        if told:
            getattr(run, told)()
        code.start(self._start_message(job_hosts, source), lambda message: run.inbox.put(ChildSaid(message)))
        run.run()

    def _start_message(self, job_hosts: list[JobHost], source: str) -> Mapping[str, Any]:
        return {
            "do": "start",
            "module": self._row["module"],
            "path": str(self._modules_dir / f"Mid_{self._row['module']}.py"),
            "sha256": self._row["module_sha256"],
            "source": base64.b64encode(source.encode()).decode(),
            "params": self._row["params"],
            "hosts": [
                {"id": str(h.id), "name": h.name, "ip": h.ip, "os": h.os, "os_family": h.os_family}
                for h in job_hosts
            ],
        }


def _open_hosts(conn: Connection, job_id: int) -> list[JobHost]:
    """The hosts of the job that have no ending yet, with their ways as they are now."""
    rows = [row for row in results.results(conn, job_id) if row["state"] in OPEN_HOST]
    ids = [row["host_id"] for row in rows]
    known = hosts.hosts_by_id(conn, ids)
    roads = connections.routes(conn, ids)
    return [_job_host(row, known.get(row["host_id"]), roads[row["host_id"]]) for row in rows]


def _job_host(row: RowMapping, known: RowMapping | None, roads: Sequence[RowMapping]) -> JobHost:
    """*row* is what the job froze; *known* is the host's row today."""
    routes = tuple(Route(road["connection_id"], road["remote_id"]) for road in roads if road["enabled"])
    facts = (known["facts"] if known else None) or {}
    os_name = known["os"] if known else ""
    return JobHost(row["host_id"], row["host"], row["ip"], os_name, facts.get("os_family", ""), routes)
