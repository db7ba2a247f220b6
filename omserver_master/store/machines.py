"""Which machines' workers may take a job: a column of the job, and the condition that claims look by.

The names stand in it in order with commas between and around them; null means any machine.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, exists, or_, select, update

from ..jobs.states import OPEN_HOST, OPEN_JOB
from .jobs import parts
from .leases import FREE
from .schema import host_results, jobs

_NAMES_IT = jobs.c.machines.contains(bindparam("on_machine"), escape="/")
#: Jobs that a worker may take on the machine that the parameter of `on` is about. (A parameter alone behind
#: LIKE would let SQLite plan the statement anew each time; this one has signs around it.)
MAY_TAKE: Final = or_(jobs.c.machines.is_(None), _NAMES_IT)


def on(machine: str) -> dict[str, object]:
    """The parameter of `MAY_TAKE`."""
    return {"on_machine": f",{machine.replace('_', '/_')},"}


def packed(machines: Collection[str] | None) -> str | None:
    """The column for these machines; None: any."""
    return f",{','.join(sorted(machines))}," if machines else None


def unpacked(column: str | None) -> list[str]:
    """The machines that the column names; none: any."""
    return column.strip(",").split(",") if column else []


def any_named(conn: Connection) -> bool:
    """Whether a job that is not over is for some machines only."""
    named = jobs.c.state.in_(OPEN_JOB), jobs.c.machines.is_not(None)
    return conn.execute(select(jobs.c.id).where(*named).limit(1)).first() is not None


def open_jobs_on(conn: Connection, host_ids: Sequence[int]) -> list[RowMapping]:
    """Jobs that are not over on one of these hosts: ``id``, ``engines`` and ``machines``."""
    columns = jobs.c.id, jobs.c.engines, jobs.c.machines
    found: dict[int, RowMapping] = {}
    for part in parts(host_ids):
        mine = host_results.c.job_id == jobs.c.id, host_results.c.host_id.in_(part)
        wanted = exists().where(*mine, host_results.c.state.in_(OPEN_HOST))
        query = select(*columns).where(jobs.c.state.in_(OPEN_JOB), wanted)
        found.update((row["id"], row) for row in conn.execute(query).mappings())
    return list(found.values())


def open_hosts(conn: Connection, job_id: int) -> list[int]:
    """The ids of the job's hosts that have no end."""
    mine = host_results.c.job_id == job_id, host_results.c.state.in_(OPEN_HOST)
    return list(conn.execute(select(host_results.c.host_id).where(*mine)).scalars())


def set_machines(conn: Connection, job_id: int, machines: Collection[str] | None) -> None:
    """From now on these machines may take the job; None: any."""
    conn.execute(update(jobs).where(jobs.c.id == job_id).values(machines=packed(machines)))


def left_cancelling(conn: Connection) -> list[RowMapping]:
    """Jobs for some machines only that are to be cancelled and that no worker has: ``id``, ``machines``."""
    left = jobs.c.state == "cancelling", jobs.c.machines.is_not(None), FREE
    return list(conn.execute(select(jobs.c.id, jobs.c.machines).where(*left)).mappings())
