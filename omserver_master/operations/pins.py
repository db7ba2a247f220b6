"""Jobs that are to be kept whatever their age."""

from __future__ import annotations

from typing import Any

from omserver_master import audit
from omserver_master.store import engine as store
from omserver_master.store import pins

from .context import Context
from .jobs import JobId, show, to_change
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
    def change(conn: Any) -> None:
        row = to_change(conn, context, args.job, "Keeping this job or not needs the right to run it.")
        if pins.set_pinned(conn, args.job, pinned):
            action = "job.pin" if pinned else "job.unpin"
            audit.accepted(conn, context.caller, context.who, action, f"job {args.job}", row["module"])

    store.transact(context.site.engine, change)
    context.site.changes.announce([args.job])
    return show(context, args)
