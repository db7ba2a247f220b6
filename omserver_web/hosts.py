"""Hosts: what there is, what ran on each, and, for admins, changing them and the ways to them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from .connections import is_admin, only_for_admins
from .master import BadRequest, NotFound, Refused, UnknownHost, ask
from .numbers import number
from .retold import own_words
from .words import HOST_LIFE, STATUS, error_sentence

bp = Blueprint("hosts", __name__)

PAGE = 200
#: Jobs on the page of a host.
RECENT = 20
#: No host has a longer name.
LONGEST_NAME = 255
#: What can be said of a host in a form.
FIELDS = ("lip", "wip", "os", "os_family", "categ", "app", "state", "labels")


@bp.get("/hosts")
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


@bp.get("/hosts/<name>")
def show(name: str):
    """One host, the ways to it, and the jobs that went to it.

    :raise 404: there is no such host, or it may not be seen.
    """
    return _page(name)


@bp.get("/add-host")
def new():
    """The form for a new host.

    :raise 403: the person is no admin.
    """
    only_for_admins()
    return _form({})


@bp.post("/add-host")
def add():
    """Add a host.

    :raise 400: something in the form cannot be; the page says what.
    """
    name = request.form.get("name", "").strip()
    over = request.form.get("connection", "")
    ways = [{"connection": over, "remote_id": request.form.get("remote_id", "").strip()}] if over else []
    try:
        ask("hosts.add", host=name, ways=ways, **{key: value for key, value in _typed().items() if value})
    except Refused as refused:
        if not isinstance(refused, BadRequest):
            raise
        return _form(request.form, refused), 400
    return redirect(url_for("hosts.show", name=name), 303)


@bp.post("/hosts/<name>")
def change(name: str):
    """Change what is known of a host.

    :raise 400: something in the form cannot be; the page says what.
    """
    new_name = request.form.get("name", name).strip()
    try:
        values = {key: value for key, value in _typed().items() if key != "labels"} | _labels()
        ask("hosts.set", hosts=[name], name=new_name if new_name != name else None, **values)
    except BadRequest as refused:
        return _page(name, refused), 400
    return redirect(url_for("hosts.show", name=new_name), 303)


@bp.post("/hosts/<name>/ways")
def ways(name: str):
    """Add, move or remove a way.

    :raise 400: it cannot be; the page says why.
    """
    try:
        ask("hosts.ways", hosts=[name], **_way_change())
    except BadRequest as refused:
        return _page(name, refused), 400
    return redirect(f"{url_for('hosts.show', name=name)}#ways", 303)


@bp.get("/change-hosts")
def several():
    """The form that changes the picked hosts together.

    :raise 403: the person is no admin.
    """
    only_for_admins()
    return _several(request.args.getlist("host"))


@bp.post("/change-hosts")
def change_several():
    """Change the ways to several hosts, or what is known of them: of all, or of none.

    :raise 400: it cannot be; the page says why.
    """
    names = request.form.getlist("host")
    try:
        if "set" in request.form:
            values = {key: value for key, value in _typed().items() if value}
            ask("hosts.set", hosts=names, **values)
        else:
            ask("hosts.ways", hosts=names, **_way_change())
    except (BadRequest, UnknownHost, NotFound) as refused:
        return _several(names, refused), STATUS.get(refused.code, 400)
    return _several(names, done=True)


def _way_change() -> dict[str, Any]:
    """What a form wants of the ways: the button's name says which kind of change."""
    form = request.form
    for name, by in (("up", -1), ("down", 1)):
        if form.get(name):
            return {"move": form[name], "by": by}
    if form.get("remove"):
        return {"remove": form["remove"]}
    way = {"connection": form.get("connection", ""), "remote_id": form.get("remote_id", "").strip()}
    return {"add": way, "place": 0 if form.get("place") == "first" else None}


def _typed() -> dict[str, str]:
    return {name: request.form[name].strip() for name in FIELDS if name in request.form}


def _labels() -> dict[str, str]:
    """The labels as they were typed, and those that were in the field and are no more, to be taken away."""
    fields = (request.form.get(name, "") for name in ("labels_before", "labels"))
    before, left = ([label.strip() for label in text.split(",") if label.strip()] for text in fields)
    names = {label.partition("=")[0].strip() for label in left}
    gone = [f"{label.partition('=')[0]}=" for label in before if label.partition("=")[0] not in names]
    return {"labels": ", ".join([*left, *gone])} if left != before else {}


def _page(name: str, refused: Refused | None = None) -> str:
    if len(name) > LONGEST_NAME:
        raise NotFound
    host = ask("hosts.show", host=name)
    jobs = ask("job.list", host=host["name"], limit=RECENT)
    used = {way["connection"] for way in host["ways"]}
    return render_template(
        "hosts/show.html",
        host=host,
        others=[each for each in _connections() if each["name"] not in used],
        states=HOST_LIFE,
        open_form=refused is not None and request.endpoint == "hosts.change",
        **jobs,
        **_problem(refused),
    )


def _form(filled: Any, refused: Refused | None = None) -> str:
    return render_template(
        "hosts/new.html", filled=filled, connections=_connections(), states=HOST_LIFE, **_problem(refused)
    )


def _several(names: list[str], refused: Refused | None = None, done: bool = False) -> str:
    return render_template(
        "hosts/several.html",
        names=names,
        connections=_connections(),
        states=HOST_LIFE,
        done=done,
        **_problem(refused),
    )


def _connections() -> list[dict[str, Any]]:
    return ask("connections.list")["connections"] if is_admin() else []


def _problem(refused: Refused | None) -> dict[str, str]:
    if refused is None:
        return {"problem": "", "detail": ""}
    return {"problem": error_sentence(refused.code), "detail": own_words(refused)}
