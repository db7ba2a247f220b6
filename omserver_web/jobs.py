"""Jobs: what ran, what happened on each host, and how to stop it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from .master import NotFound, Refused, ask
from .numbers import number
from .outputs import read_both
from .words import HOST_STATES, JOB_STATES, OVER

bp = Blueprint("jobs", __name__, url_prefix="/jobs")

#: Within how many hours the list can look back.
LATELY = (1, 8, 24, 72, 168, 720)
#: Jobs on one page of the list.
PAGE = 50
#: Hosts on one page of a job.
ROWS = 500
#: With no more hosts than this, what they printed is on the page of the job itself.
FEW = 4


@bp.get("")
def index():
    """The jobs, newest first."""
    wanted = {name: request.args.get(name, "").strip() for name in ("state", "module", "user", "host")}
    asked: dict[str, Any] = {name: text or None for name, text in wanted.items()}
    wanted["hours"] = request.args.get("hours", "").strip()
    hours = number(wanted["hours"])
    asked["since"] = time.time() - hours * 3600 if hours in LATELY else None
    answer = ask("job.list", limit=PAGE, before=number(request.args.get("before")), **asked)
    return render_template("jobs/list.html", **answer, wanted=wanted, states=JOB_STATES, lately=LATELY)


@bp.get("/<int:job>")
def show(job: int):
    """One job with its hosts; more arrive while it runs.

    :raise 404: there is no such job, or it may not be seen.
    """
    shown = ask("job.show", job=job)["job"]
    state = request.args.get("state") if request.args.get("state") in HOST_STATES else None
    answer = ask("job.results", job=job, state=state, limit=ROWS, after=number(request.args.get("after")))
    return render_template("jobs/show.html", **answer, **around(shown), state=state, given=shown["event"])


@bp.get("/<int:job>/cancel")
def confirm_cancel(job: int):
    """Ask whether the job is to be stopped."""
    return render_template("jobs/cancel.html", job=ask("job.show", job=job)["job"])


@bp.post("/<int:job>/cancel")
def cancel(job: int):
    """Stop the job on the hosts that have not finished."""
    ask("job.cancel", job=job)
    return redirect(url_for("jobs.show", job=job), 303)


@bp.post("/<int:job>/pause")
def pause(job: int):
    """Let the job begin on no further host."""
    ask("job.pause", job=job)
    return redirect(url_for("jobs.show", job=job), 303)


@bp.post("/<int:job>/resume")
def resume(job: int):
    """Let a paused job go on."""
    ask("job.resume", job=job)
    return redirect(url_for("jobs.show", job=job), 303)


@bp.post("/<int:job>/pin")
def pin(job: int):
    """Keep the job whatever its age, or no longer."""
    ask("job.pin" if request.form.get("pinned") else "job.unpin", job=job)
    return redirect(url_for("jobs.show", job=job), 303)


@bp.get("/<int:job>/hosts/<int:host>")
def host(job: int, host: int):
    """What one host of a job printed.

    :raise 404: the job did not go to that host.
    """
    shown = ask("job.show", job=job)["job"]
    row = find_row(job, host)
    offset = number(request.args.get("offset")) or 0
    outputs = read_both(job, row, offset=offset, only=request.args.get("stream"))
    template = "jobs/_output.html" if "part" in request.args else "jobs/host.html"
    return render_template(template, job=shown, row=row, outputs=outputs, offset=offset)


def find_row(job: int, host: int) -> dict[str, Any]:
    """The result of the host with the id *host*.

    Raises:
        NotFound: the job did not go to it.
    """
    rows = ask("job.results", job=job, after=host - 1, limit=1)["results"]
    if not rows or rows[0]["host_id"] != host:
        raise NotFound
    return rows[0]


def all_rows(job: int) -> Iterator[dict[str, Any]]:
    """The results of every host of a job."""
    after = None
    while True:
        answer = ask("job.results", job=job, limit=ROWS, after=after)
        yield from answer["results"]
        if not (answer["more"] and answer["results"]):
            return
        after = answer["results"][-1]["host_id"]


def around(job: dict[str, Any]) -> dict[str, Any]:
    """What the templates of a job need besides its rows."""
    return {"job": job, "over": job["state"] in OVER, "opened": opened(job)}


def opened(job: dict[str, Any]):
    """How a row gets what its host printed, where rows are shown opened; else None."""
    if job["hosts"] > FEW:
        return None

    def read(row: dict[str, Any]):
        try:
            return read_both(job["id"], row)
        except Refused:
            return []  # the row says what is known; its own page says why there is no more

    return read
