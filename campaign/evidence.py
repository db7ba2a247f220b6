"""Reads from the database what the oracle compares."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import psutil
from sqlalchemy import Connection, RowMapping, select, text

from omserver_client.errors import Unavailable
from omserver_master.errors import AuditBroken
from omserver_master.jobs.dispatch import LATEST_SEND, UNDER_WAY
from omserver_master.jobs.states import FINAL_JOB
from omserver_master.store import audit as audits
from omserver_master.store import outputs
from omserver_master.store.engine import read
from omserver_master.store.schema import audit_events, host_results, jobs, steps

from .acks import Asked
from .oracle import HostRow, JobRow, Verdict, judge
from .place import Place
from .process import STACKS
from .servers import Server


def wait_until_final(place: Place, asked: Sequence[Asked], seconds: float) -> float:
    """Mend the place until every job of *asked* is over, or *seconds* have passed; how long it took."""
    tokens, began = {wish.token for wish in asked}, time.monotonic()
    while time.monotonic() - began < seconds:
        place.mend()
        try:
            if not _open_jobs(place, tokens):
                break
        except Unavailable:
            pass
        time.sleep(0.1)
    return time.monotonic() - began


def verdict(place: Place, asked: Sequence[Asked]) -> Verdict:
    """What the oracle says about *asked*."""
    with read(place.system.engine) as conn:
        latest = LATEST_SEND * place.pace + UNDER_WAY
        found = judge(asked, read_jobs(place, asked), place.ledger(), _audit_rows(place), latest)
        try:
            audits.verify(conn)
        except AuditBroken as error:
            found.wrong("audit", str(error))
    return found


def read_jobs(place: Place, asked: Sequence[Asked]) -> list[JobRow]:
    """The jobs of these wishes, whatever their callers were told."""
    tokens = {wish.token for wish in asked}
    with read(place.system.engine) as conn:
        found = []
        for row in conn.execute(select(jobs.c.id, jobs.c.params, jobs.c.state)).all():
            if row.params.get("token") not in tokens:
                continue
            mine = select(host_results).where(host_results.c.job_id == row.id)
            hosts = [
                HostRow(
                    one["host"],
                    one["state"],
                    one["reason"],
                    one["rc"],
                    outputs.get_output(conn, place.system.site_key, one["stdout_id"]),
                    _intents(conn, one),
                )
                for one in conn.execute(mine).mappings()
            ]
            found.append(JobRow(row.id, row.params["token"], row.state, hosts))
    return found


def keep(place: Place, asked: Sequence[Asked], folder: Path) -> None:
    """Copy the evidence into *folder*: wishes and acknowledgements, jobs, the ledger, logs with stacks."""
    folder.mkdir(parents=True, exist_ok=True)
    _tell_stacks(place)
    said = [{**wish.__dict__, "answered_jobs": sorted(wish.answered_jobs)} for wish in asked]
    (folder / "acknowledged.json").write_text(json.dumps(said, indent=1))
    found = [
        {**job.__dict__, "hosts": [{**row.__dict__, "stdout": repr(row.stdout)} for row in job.hosts]}
        for job in read_jobs(place, asked)
    ]
    (folder / "jobs.json").write_text(json.dumps(found, indent=1))
    (folder / "ledger").write_bytes(place.ledger_file.read_bytes())
    (folder / "master.log").write_bytes(place.system.log.read_bytes())
    for log in place.folder.glob("*.log"):
        (folder / log.name).write_bytes(log.read_bytes())
    _keep_of_server(place, folder)


def _keep_of_server(place: Place, folder: Path) -> None:
    """The log of the database server, and what waits for what in it."""
    if isinstance(place.server, Server):
        (folder / "database.log").write_bytes((place.server.folder / "log").read_bytes())
    waits = {
        "mysql": "SELECT * FROM information_schema.INNODB_TRX",
        "postgresql": "SELECT * FROM pg_stat_activity",
    }
    if wanted := waits.get(place.system.engine.dialect.name):
        with contextlib.suppress(Unavailable), read(place.system.engine) as conn:
            rows = [dict(row) for row in conn.execute(text(wanted)).mappings()]
            (folder / "database.json").write_text(json.dumps(rows, indent=1, default=str))


def _tell_stacks(place: Place) -> None:
    """Let the master and the workers write down where all of their threads stand."""
    there = place.workers() + ([psutil.Process(place.system.pid)] if place.is_up() else [])
    for process in there:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(STACKS)
    time.sleep(1.0 if there else 0.0)


def _open_jobs(place: Place, tokens: Collection[str]) -> int:
    with read(place.system.engine) as conn:
        rows = conn.execute(select(jobs.c.params).where(jobs.c.state.not_in(FINAL_JOB))).all()
    return sum(row.params.get("token") in tokens for row in rows)


def _intents(conn: Connection, row: RowMapping) -> tuple[float, ...]:
    """When each step's intent was committed: the first one's start, and the end of the step before."""
    mine = steps.c.job_id == row["job_id"], steps.c.host_id == row["host_id"]
    later = conn.execute(select(steps.c.finished).where(*mine).order_by(steps.c.step)).scalars()
    return () if row["started"] is None else (row["started"], *later)


def _audit_rows(place: Place) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {"job.submit": Counter(), "job.cancel": Counter()}
    wanted = audit_events.c.action.in_(list(found)), audit_events.c.outcome == "ok"
    with read(place.system.engine) as conn:
        for row in conn.execute(select(audit_events.c.action, audit_events.c.target).where(*wanted)):
            found[row.action][int(row.target.removeprefix("job "))] += 1
    return found
