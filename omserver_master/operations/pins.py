"""Jobs that are to be kept whatever their age."""

from __future__ import annotations

from typing import Any

from omserver_client.errors import Forbidden, NotFound
from omserver_master import audit
from omserver_master.access import rights
from omserver_master.store import engine as store
from omserver_master.store import jobs, pins, results

from .context import Context
from .jobs import JobId, show
from .table import operation


@operation("job.pin", role="operator")
def pin(context: Context, args: JobId) -> dict[str, Any]:
    """Keep a job and its outputs whatever their age."""
    return _set(context, args, True)


@operation("job.unpin", role="operator")
def unpin(context: Context, args: JobId) -> dict[str, Any]:
    """Let a job and its outputs go when their time comes."""
    return _set(context, args, False)


def _set(context: Context, args: JobId, pinned: bool) -> dict[str, Any]:
    who = context.who

    def change(conn: Any) -> None:
        row = jobs.job_row(conn, args.job, rights.visible_hosts(who))
        if row is None:
            raise NotFound(f"There is no job {args.job}, or it may not be seen.")
        host_ids = [result["host_id"] for result in results.results(conn, args.job)]
        if row["user_id"] != who.id and rights.may_run(conn, who, row["module"], host_ids):
            raise Forbidden("Keeping this job or not needs the right to run it.", module=row["module"])
        if pins.set_pinned(conn, args.job, pinned):
            action = "job.pin" if pinned else "job.unpin"
            audit.accepted(conn, context.caller, who, action, f"job {args.job}", row["module"])

    store.transact(context.site.engine, change)
    context.site.changes.announce([args.job])
    return show(context, args)
