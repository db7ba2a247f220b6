"""The steps of a host's work that were answered, in order: what a module is replayed with after a crash.

The last step of a host stands in its host result; only the steps before it are rows here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, insert, select

from . import clock
from .jobs import parts
from .outputs import SealedOutput, put_sealed
from .schema import steps


@dataclass(frozen=True)
class StepDone:
    """One step of one host that ran to its end. *work* is the hash of what was asked."""

    host_id: int
    step: int
    work: str
    connection: str
    handle: str
    rc: int | None
    stdout: SealedOutput | None
    stderr: SealedOutput | None
    stdout_cut: int
    stderr_cut: int
    seconds: float


def record(conn: Connection, job_id: int, done: Iterable[StepDone]) -> None:
    """Write down steps that were answered. Call it under the job's fence."""
    rows = list(done)
    ids = put_sealed(conn, [text for row in rows for text in (row.stdout, row.stderr) if text])
    now = clock.now(conn)
    for part in parts(rows):
        conn.execute(insert(steps), [_columns(job_id, row, ids, now) for row in part])


def of_hosts(conn: Connection, job_id: int, host_ids: Sequence[int]) -> dict[int, list[RowMapping]]:
    """The recorded steps of each of these hosts, in order; a host without any is missing."""
    found: dict[int, list[RowMapping]] = {}
    for part in parts(host_ids):
        mine = steps.c.job_id == job_id, steps.c.host_id.in_(part)
        query = select(steps).where(*mine).order_by(steps.c.host_id, steps.c.step)
        for row in conn.execute(query).mappings():
            found.setdefault(row["host_id"], []).append(row)
    return found


def _columns(job_id: int, row: StepDone, ids: dict[str, int], now: float) -> dict[str, object]:
    plain = "host_id step work connection handle rc stdout_cut stderr_cut seconds"
    return {name: getattr(row, name) for name in plain.split()} | {
        "job_id": job_id,
        "stdout_id": ids[row.stdout.digest] if row.stdout else None,
        "stderr_id": ids[row.stderr.digest] if row.stderr else None,
        "finished": now,
    }
