"""Jobs held by hand, and let go."""

from __future__ import annotations

from typing import Any

from omserver_client.errors import BadRequest
from omserver_master import audit
from omserver_master.store import engine as store
from omserver_master.store import pauses

from .context import Context
from .jobs import JobId, show, to_change
from .table import operation


@operation("job.pause", role="operator")
def pause(context: Context, args: JobId) -> dict[str, Any]:
    """Let a job begin on no further host until it is resumed; hosts at work go on."""
    return _set(context, args, "job.pause")


@operation("job.resume", role="operator")
def resume(context: Context, args: JobId) -> dict[str, Any]:
    """Let a paused job go on, or give it the go-ahead that it asks for."""
    return _set(context, args, "job.resume")


def _set(context: Context, args: JobId, action: str) -> dict[str, Any]:
    who = context.who

    def change(conn: Any) -> None:
        # To resume makes more hosts begin: the right to that may have been taken back meanwhile.
        own = action == "job.pause"
        refusal = "Pausing or resuming this job needs the right to run it."
        row = to_change(conn, context, args.job, refusal, own=own)
        if action == "job.pause" and row["direct"]:
            raise BadRequest("Its module reaches the hosts by itself, so it can't be paused.", field="job")
        changed = (
            pauses.ask_pause(conn, args.job, who.name)
            if action == "job.pause"
            else pauses.ask_resume(conn, args.job)
        )
        if changed:
            audit.accepted(conn, context.caller, who, action, f"job {args.job}", row["module"])

    store.transact(context.site.engine, change)
    context.site.ring(args.job)
    return show(context, args)
