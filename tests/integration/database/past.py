"""Jobs of the past: what tests of keeping work on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

from people import add_person, furnish
from sqlalchemy import Connection, Engine, select, update

from omserver_master.keeping import Keep, Purge, Purged
from omserver_master.store import clock, jobs, leases, outputs, pins, results, schema, steps
from omserver_master.store.engine import begin, read, transact
from omserver_master.store.results import HostResult
from omserver_master.store.sitekey import SiteKey
from omserver_master.store.steps import StepDone

DAY = 86_400.0
KEEP = Keep(output_days=90, job_days=400, audit_days=1100)
_MESSAGES = itertools.count()


class Past:
    """Jobs that ended some days ago, with what their hosts printed; written as workers do."""

    def __init__(self, engine: Engine, site: SiteKey) -> None:
        self.engine, self.site = engine, site
        with begin(engine) as conn:
            self.hosts = list(furnish(conn).hosts.values())
            self.user = add_person(conn, "alice", "operator")

    def job(self, days: float, texts: Sequence[bytes], *, pinned: bool = False, before: bytes = b"") -> int:
        """A job with one host for each of *texts*; *before* is what their first step printed."""
        job = {
            "module": "1001", "module_sha256": "a" * 64, "params": {}, "user_id": self.user, "user": "alice",
            "key_kid": "k" * 16, "message_id": f"r{next(_MESSAGES)}", "request_hash": "b" * 64,
            "repeat": "once", "timeout": 60, "start_before": 2e9,
        }  # fmt: skip
        chosen = self.hosts[: len(texts)]
        members = [{"host_id": host, "host": "h", "ip": ""} for host in chosen]

        def write(conn: Connection) -> int:
            id_: int = jobs.add_job(conn, job, members)["id"]
            leases.claim_this(conn, id_, "w1", 30)
            first = outputs.seal(self.site, before)
            done = [StepDone(host, 1, "w", "c", "h", 0, first, None, 0, 0, 0.1) for host in chosen]
            steps.record(conn, id_, done if before else [])
            sealed = [outputs.seal(self.site, text) for text in texts]
            ends = [HostResult(host, "ok", stdout=text) for host, text in zip(chosen, sealed, strict=True)]
            results.store_results(conn, id_, 1, ends)
            jobs.finish_job(conn, id_, 1, "succeeded")
            if pinned:
                pins.set_pinned(conn, id_, True)
            then = clock.now(conn) - days * DAY
            change = update(schema.jobs).where(schema.jobs.c.id == id_)
            conn.execute(change.values(created=then - 1, finished=then))
            return id_

        return transact(self.engine, write)

    def purge(self, keep: Keep = KEEP, stop: threading.Event | None = None) -> Purged:
        return Purge(self.engine, self.site, keep, stop, pauses=False).run("test")

    def texts(self) -> list[bytes]:
        with read(self.engine) as conn:
            ids = list(conn.execute(select(schema.outputs.c.id)).scalars())
            return sorted(outputs.get_output(conn, self.site, id_) for id_ in ids)

    def jobs(self) -> dict[int, bool]:
        """Each job that is there, and whether its outputs are gone."""
        with read(self.engine) as conn:
            query = select(schema.jobs.c.id, schema.jobs.c.purged)
            return {row.id: row.purged is not None for row in conn.execute(query)}
