"""Jobs that are done again, on some of the hosts of the first."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from omserver_client.errors import BadRequest
from omserver_master.access import rights
from omserver_master.jobs import submission
from omserver_master.jobs.rerun import Rerun, first_job
from omserver_master.jobs.selection import Named
from omserver_master.jobs.submission import Wish
from omserver_master.store import engine as store

from . import views
from .context import Context
from .jobs import HostName, JobId, commit, show
from .table import Number, operation


class WantedAgain(JobId):
    """Which hosts of which job: those that ended in a way, or those named."""

    on: Literal["", "failed", "unreachable", "unfinished", "all"] = ""
    hosts: list[str | HostName] = Field(default_factory=list, max_length=100_000)
    #: As the first job, unless it is said.
    dry_run: bool | None = None

    def rerun(self) -> Rerun:
        if bool(self.on) == bool(self.hosts):
            raise BadRequest("Say which hosts, or how they ended, not both.", field="on")
        return Rerun(self.job, self.on, tuple(_named(host) for host in self.hosts))


class RunAgain(WantedAgain):
    """The same, to be done. ``until`` is in unix seconds."""

    confirm: Number | None = None
    until: float | None = None


@operation("job.rerun_preview", role="operator")
def preview(context: Context, args: WantedAgain) -> dict[str, Any]:
    """What exactly would run where; nothing is stored and nothing is sent."""
    rules, wish = context.site.rules, _wish(context, args)
    module = submission.usable_module(rules, wish)
    with store.read(context.site.engine) as conn:
        found = submission.plan(conn, rules, context.who, wish, module)
    return views.plan(found)


@operation("job.rerun", role="operator")
def rerun(context: Context, args: RunAgain) -> dict[str, Any]:
    """Submit a job like another one on some of its hosts. The same idempotency key answers the same job."""
    done = commit(context, _wish(context, args))
    return {"job": show(context, JobId(job=done.job_id))["job"], "repeated": done.repeated}


def _named(host: str | HostName) -> Named:
    return Named(name=host) if isinstance(host, str) else host.named()


def _wish(context: Context, args: WantedAgain) -> Wish:
    again = args.rerun()
    with store.read(context.site.engine) as conn:
        first = first_job(conn, again.job, rights.visible_hosts(context.who))
    return Wish(
        first["module"],
        first["params"],
        (),
        confirm=getattr(args, "confirm", None),
        timeout=first["timeout"],
        start_before=max(1, round(first["start_before"] - first["created"])),
        dry_run=first["dry_run"] if args.dry_run is None else args.dry_run,
        rerun=again,
        until=getattr(args, "until", None),
    )
