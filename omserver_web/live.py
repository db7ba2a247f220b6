"""A job while it runs: its rows as they arrive, as server-sent events, or in answer to a question.

What is sent are the same pieces of page that the job's page is made of. A browser that was cut off says which
event it saw last and gets what came after.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    jsonify,
    render_template,
    request,
    stream_with_context,
)

from .jobs import around
from .master import NotReached, OMServerError, Refused, ask
from .numbers import number
from .words import OVER

bp = Blueprint("live", __name__, url_prefix="/jobs")

#: How long the master may wait for news before it says that there is none, in seconds.
WAIT = 15.0
#: A stream ends after this many seconds; the browser begins another where it ended.
LONGEST = 600.0
#: How long the browser waits before it tries again, in milliseconds.
RETRY = 2000


def prepare(app: Flask) -> None:
    """Bound how many streams *app* serves at once: each keeps a thread and a connection."""
    app.extensions["streams"] = threading.BoundedSemaphore(max(app.config["STREAMS"], 1))


@bp.get("/<int:job>/changes")
def changes(job: int):
    """What happened after the event ``since``, at once: for browsers whose stream does not work."""
    return jsonify(_pieces(_news(job, _since(), 0)))


@bp.get("/<int:job>/events")
def events(job: int):
    """The same as a stream that goes on until the job is over.

    :raise 503: too many streams; the browser asks for ``changes`` instead.
    """
    first = _news(job, _since(), 0)
    streams = current_app.extensions["streams"]
    if not streams.acquire(blocking=False):
        return jsonify(streams="full"), 503
    response = Response(stream_with_context(_stream(job, first)), mimetype="text/event-stream")
    response.call_on_close(streams.release)
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _since() -> int:
    told = request.headers.get("Last-Event-ID") or request.args.get("since", "0")
    return number(told) or 0


def _news(job: int, since: int, wait: float) -> dict[str, Any]:
    return ask("job.events", wait=wait, job=job, since=since)


def _stream(job: int, news: dict[str, Any]) -> Iterator[str]:
    yield f"retry: {RETRY}\n\n"
    end = time.monotonic() + LONGEST
    seen: int | None = None
    try:
        while time.monotonic() < end:
            over = news["job"]["state"] in OVER
            yield _event(news) if over or news["event"] != seen else ": nothing new\n\n"
            if over:
                return
            seen = news["event"]
            news = _news(job, seen, WAIT)
    except NotReached:
        yield "event: down\ndata: {}\n\n"
    except (Refused, OMServerError):
        return  # the browser asks again, and gets the reason as an answer


def _event(news: dict[str, Any]) -> str:
    return f"id: {news['event']}\nevent: news\ndata: {json.dumps(_pieces(news))}\n\n"


def _pieces(news: dict[str, Any]) -> dict[str, Any]:
    job = news["job"]
    # What follows a job that is over, its events do not tell.
    near = around(ask("job.show", job=job["id"])["job"] if job["state"] in OVER else job)
    rows = [
        {
            "id": row["host_id"],
            "state": row["state"],
            "html": render_template("jobs/_row.html", row=row, **near),
        }
        for row in news["results"]
    ]
    return {
        "event": news["event"],
        "over": near["over"],
        "head": render_template("jobs/_head.html", **near),
        "counts": render_template("jobs/_counts.html", state=request.args.get("state"), **near),
        "actions": render_template("jobs/_actions.html", **near),
        "rows": rows,
    }
