"""Jobs held by hand, and let go."""

from __future__ import annotations

from typing import Any

from omserver_client.errors import BadRequest, Forbidden, NotFound
from omserver_master import audit
from omserver_master.access import rights
from omserver_master.store import engine as store
from omserver_master.store import jobs, pauses, results

from .context import Context
from .jobs import JobId, show
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
        row = jobs.job_row(conn, args.job, rights.visible_hosts(who))
        if row is None:
            raise NotFound(f"There is no job {args.job}, or it may not be seen.")
        if row["user_id"] != who.id or action == "job.resume":  # which makes more hosts begin
            host_ids = [result["host_id"] for result in results.results(conn, args.job)]
            if rights.may_run(conn, who, row["module"], host_ids):
                text = "Pausing or resuming this job needs the right to run it."
                raise Forbidden(text, module=row["module"])
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
    context.site.ring()
    return show(context, args)
