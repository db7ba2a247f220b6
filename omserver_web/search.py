"""One box for jobs, hosts and modules."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for

from .guard import is_part
from .master import NotFound, ask
from .modules import matches
from .numbers import number

bp = Blueprint("search", __name__)

#: Of each kind.
FOUND = 8


@bp.get("/search")
def show():
    """What fits the words; a job's number alone leads straight to the job."""
    said = request.args.get("q", "").strip()
    found = {"jobs": _job(said), "hosts": [], "modules": []}
    if said:
        found["hosts"] = ask("hosts.list", search=said, limit=FOUND)["hosts"]
        found["modules"] = [each for each in ask("modules.list")["modules"] if matches(each, said)][:FOUND]
    names_module = any(each["id"] == said for each in found["modules"])
    if found["jobs"] and not names_module and not is_part(request.headers):
        return redirect(url_for("jobs.show", job=found["jobs"][0]["id"]))
    template = "search/_found.html" if is_part(request.headers) else "search/show.html"
    return render_template(template, **found)


def _job(words: str) -> list[dict[str, object]]:
    job = number(words.removeprefix("#"))
    if job is None:
        return []
    try:
        return [ask("job.show", job=job)["job"]]
    except NotFound:
        return []
