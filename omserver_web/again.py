"""Run a job again on some of its hosts: choose them, see exactly what would be hit, run it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, redirect, render_template, request, url_for

from .jobs import all_rows
from .master import ConfirmationNeeded, Refused, ask
from .numbers import number
from .retold import own_words
from .words import STATUS, again_groups, error_sentence

bp = Blueprint("again", __name__, url_prefix="/jobs")

#: With more hosts than this, they are not chosen one by one here.
CHOSEN_FROM = 500


@bp.get("/<int:job>/again")
def show(job: int):
    """The hosts that can be meant, and for those that are, what exactly would run.

    :raise 404: there is no such job, or it may not be seen.
    """
    wanted = request.args.get("on", "")
    named = request.args.getlist("host")
    preview = problem = None
    if wanted or named:
        try:
            preview = ask("job.rerun_preview", job=job, on=wanted or None, hosts=named or None)
        except Refused as refused:
            problem = _problem(refused)
    return _page(job, preview, problem, wanted)


@bp.post("/<int:job>/again")
def submit(job: int):
    """Run it on the hosts that were shown. Sent twice, the form makes one job.

    :raise 400: something is missing or no longer right; the page says what.
    """
    ids = [number(text) for text in request.form.getlist("host_id")]
    if None in ids:
        abort(400)  # fewer hosts than were shown must not be run on
    hosts = [{"id": host} for host in ids]
    confirm = number(request.form.get("confirm", "").strip())
    try:
        answer = ask("job.rerun", key=request.form.get("key") or None, job=job, hosts=hosts, confirm=confirm)
    except ConfirmationNeeded as refused:
        preview = ask("job.rerun_preview", job=job, hosts=hosts)
        return _page(job, preview, None, "", error_sentence(refused.code)), 400
    except Refused as refused:
        if refused.code in ("login_required", "session_expired", "unavailable", "internal", "too_many"):
            raise
        return _page(job, None, _problem(refused), ""), STATUS.get(refused.code, 400)
    repeated = 1 if answer["repeated"] else None
    return redirect(url_for("jobs.show", job=answer["job"]["id"], again=repeated), 303)


def _problem(refused: Refused) -> dict[str, str]:
    if refused.code == "not_found":
        raise refused
    said = own_words(refused)
    sentence = said if refused.code == "bad_request" else error_sentence(refused.code, refused.text)
    return {"sentence": sentence, "detail": said}


def _page(
    job: int,
    preview: Mapping[str, Any] | None,
    problem: Mapping[str, str] | None,
    wanted: str,
    confirm_error: str = "",
) -> str:
    shown = ask("job.show", job=job)["job"]
    choose = preview is None and problem is None and shown["hosts"] <= CHOSEN_FROM
    return render_template(
        "jobs/again.html",
        job=shown,
        groups=again_groups(shown),
        rows=list(all_rows(job)) if choose else [],
        preview=preview,
        problem=problem,
        wanted=wanted,
        confirm_error=confirm_error,
        key=str(uuid.uuid4()),
    )
