"""Import: hosts from an engine's own list or a CSV file; first what would be done, then exactly that."""

from __future__ import annotations

import base64
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from .connections import only_for_admins
from .master import BadRequest, NotFound, PreviewOutdated, Refused, Unavailable, ask
from .numbers import number
from .retold import own_words
from .words import STATUS, error_sentence

bp = Blueprint("imports", __name__, url_prefix="/import")

PAGE = 200
#: Seconds that an engine may take to tell of its hosts, beyond the usual.
LIST_WAIT = 40.0
OPTIONS = ("source", "categ", "app", "state", "connection", "groups")
CSV = "csv:"


@bp.get("")
def index():
    """Where the hosts come from, and what new ones get.

    :raise 403: the person is no admin.
    """
    only_for_admins()
    return _form(request.args)


@bp.post("")
def preview():
    """Look at what an import would do; nothing is changed.

    :raise 400: the source cannot be read; the page says why.
    """
    wanted = {name: request.form.get(name, "").strip() for name in OPTIONS}
    try:
        answer = ask("import.preview", wait=LIST_WAIT, limit=0, **_source(wanted), **_new_ones(wanted))
    except (BadRequest, NotFound, Unavailable) as refused:
        return _form(wanted, refused), STATUS.get(refused.code, 400)
    return redirect(url_for("imports.show", token=answer["token"]), 303)


@bp.get("/<token>")
def show(token: str):
    """The rows of a preview.

    :raise 404: it is gone.
    """
    wanted = {name: request.args.get(name, "").strip() for name in ("status", "q")}
    offset = number(request.args.get("offset")) or 0
    found = ask(
        "import.rows",
        token=token,
        status=wanted["status"] or None,
        search=wanted["q"] or None,
        limit=PAGE,
        offset=offset,
    )
    return render_template(
        "imports/show.html",
        **found,
        wanted=wanted,
        offset=offset,
        page=PAGE,
        outdated="outdated" in request.args,
    )


@bp.post("/<token>/apply")
def apply(token: str):
    """Do what was previewed; if that has changed meanwhile, show what would be done now."""
    try:
        done = ask("import.apply", wait=LIST_WAIT, token=token, digest=request.form.get("digest") or None)
    except PreviewOutdated as refused:
        newer = str(refused.details["token"])
        return redirect(url_for("imports.show", token=newer, outdated=1), 303)
    return render_template("imports/done.html", **done)


def _source(wanted: dict[str, str]) -> dict[str, Any]:
    """Where the hosts come from; a file or text that was given counts, whatever else is chosen."""
    file = request.files.get("file")
    body = file.read() if file else b""
    body = body or request.form.get("text", "").strip().encode()
    if not body and wanted["source"] != CSV:
        return {"source": wanted["source"], "groups": wanted["groups"] or None}
    title = file.filename if file and file.filename else None
    over = wanted["connection"] or None
    return {"csv": base64.b64encode(body).decode(), "title": title, "connection": over}


def _new_ones(wanted: dict[str, str]) -> dict[str, str | None]:
    return {name: wanted[name] or None for name in ("categ", "app", "state")}


def _form(filled: Any, refused: Refused | None = None) -> str:
    kinds = {each["kind"] for each in ask("connections.kinds")["kinds"] if each["keeps_hosts"]}
    connections = ask("connections.list")["connections"]
    return render_template(
        "imports/new.html",
        filled=filled,
        connections=connections,
        sources=[each for each in connections if each["kind"] in kinds],
        categories=ask("hosts.categories")["categories"],
        csv=CSV,
        problem=error_sentence(refused.code) if refused else "",
        detail=own_words(refused) if refused else "",
    )
