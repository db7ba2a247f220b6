"""Hosts: what there is, and what ran on each."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from .master import NotFound, ask

bp = Blueprint("hosts", __name__, url_prefix="/hosts")

PAGE = 200
#: Jobs on the page of a host.
RECENT = 20


@bp.get("")
def index():
    """The hosts, by category, application or name."""
    wanted = {name: request.args.get(name, "").strip() for name in ("categ", "app", "q")}
    offset = max(request.args.get("offset", 0, type=int), 0)
    listing = ask(
        "hosts.list",
        categ_id=_id(wanted["categ"]),
        app_id=_id(wanted["app"]),
        search=wanted["q"] or None,
        limit=PAGE,
        offset=offset,
    )
    categories = ask("hosts.categories")["categories"]
    return render_template(
        "hosts/list.html", **listing, categories=categories, wanted=wanted, offset=offset, page=PAGE
    )


@bp.get("/<name>")
def show(name: str):
    """One host, and the jobs that went to it.

    :raise 404: there is no such host, or it may not be seen.
    """
    found = [host for host in ask("hosts.list", search=name)["hosts"] if host["name"].lower() == name.lower()]
    if not found:
        raise NotFound
    jobs = ask("job.list", host=found[0]["name"], limit=RECENT)
    return render_template("hosts/show.html", host=found[0], **jobs)


def _id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
