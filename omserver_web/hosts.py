"""Hosts: what there is, and what ran on each."""

from __future__ import annotations

import unicodedata
from typing import Any

from flask import Blueprint, render_template, request

from .master import NotFound, ask
from .numbers import number

bp = Blueprint("hosts", __name__, url_prefix="/hosts")

PAGE = 200
#: Jobs on the page of a host.
RECENT = 20
#: Hosts looked at in one go while one is searched by its name.
LOOKED_AT = 1000
#: No host has a longer name; nor does the master search for one.
LONGEST_NAME = 255


@bp.get("")
def index():
    """The hosts, by category, application or name."""
    wanted = {name: request.args.get(name, "").strip() for name in ("categ", "app", "q")}
    offset = number(request.args.get("offset")) or 0
    listing = ask(
        "hosts.list",
        categ_id=number(wanted["categ"]),
        app_id=number(wanted["app"]),
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
    host = find_host(name)
    jobs = ask("job.list", host=host["name"], limit=RECENT)
    return render_template("hosts/show.html", host=host, **jobs)


def find_host(name: str) -> dict[str, Any]:
    """The host whose name is *name*, whatever its case.

    Raises:
        NotFound: there is none, or it may not be seen.
    """
    if len(name) > LONGEST_NAME:
        raise NotFound
    offset, total = 0, 1
    while offset < total:
        listing = ask("hosts.list", search=name, limit=LOOKED_AT, offset=offset)
        for host in listing["hosts"]:
            if _key(host["name"]) == _key(name):
                return host
        offset, total = offset + LOOKED_AT, listing["total"]
    raise NotFound


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()
