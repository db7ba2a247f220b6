"""The operation behind the remote name of 2014: run a task and answer when the job is done."""

from __future__ import annotations

import base64
import time
from typing import Any

from pydantic import Field

from omserver_client.errors import BadRequest
from omserver_master.jobs.states import FINAL_JOB
from omserver_master.jobs.submission import Submitted, Wish
from omserver_master.store import engine as store
from omserver_master.store import jobs, outputs, results

from . import views
from .context import Context
from .jobs import HostName, commit
from .table import Args, operation

LOOK_ANYWAY = 1.0
#: Part of a frame that all outputs of one answer share; base64 and JSON need the rest.
OUTPUT_SHARE = 0.5


class Task(Args):
    """A task string taken apart."""

    module: str
    hosts: list[HostName]
    params: list[str] = Field(default_factory=list)


@operation("runcommands", role="operator")
def runcommands(context: Context, args: Task) -> dict[str, Any]:
    """Submit the task, wait for its end (``RUNCOMMANDS_WAIT`` seconds at most), answer the job and each host.

    ``done`` is false when the time was over first: the job goes on, and its id finds it again.
    """
    named = [host.named() for host in args.hosts]
    done = commit(context, Wish(args.module, args.params, named))
    _refuse_anothers(context, done)
    job_id = done.job_id
    end = time.monotonic() + context.site.settings.runcommands_wait
    with context.site.changes.of(job_id) as change:
        while True:
            change.clear()
            answer = _answer(context, job_id)
            left = end - time.monotonic()
            if answer["done"] or left <= 0:
                return answer
            change.wait(min(left, LOOK_ANYWAY))


def _refuse_anothers(context: Context, done: Submitted) -> None:
    """A message that is sent again answers its job, but to nobody else than who sent it first."""
    if not done.repeated:
        return
    with store.read(context.site.engine) as conn:
        row = jobs.job_row(conn, done.job_id)
    if row is None or row["user_id"] != context.who.id:
        raise BadRequest("This task was sent before, by somebody else.")


def _answer(context: Context, job_id: int) -> dict[str, Any]:
    with store.read(context.site.engine) as conn:
        row = jobs.job_row(conn, job_id)
        assert row is not None
        done = row["state"] in FINAL_JOB
        rows = results.results(conn, job_id)
        share = int(context.site.settings.max_frame * OUTPUT_SHARE / max(1, len(rows)) / 2)
        hosts = [_host(context, conn, host, share if done else 0) for host in rows]
    return {"job": row["id"], "state": row["state"], "done": done, "results": hosts}


def _host(context: Context, conn: Any, row: Any, share: int) -> dict[str, Any]:
    streams: dict[str, Any] = {}
    for stream in ("stdout", "stderr"):
        text = outputs.get_output(conn, context.site.site_key, row[f"{stream}_id"]) if share else b""
        kept = text[:share]
        streams[stream] = base64.b64encode(kept).decode()
        streams[f"{stream}_cut"] = row[f"{stream}_cut"] + len(text) - len(kept)
    return views.result(row) | streams
