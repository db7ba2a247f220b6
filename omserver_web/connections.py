"""Connections: which are up, and, for admins, adding, changing, trying and removing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, g, redirect, render_template, request, url_for
from flask_babel import gettext as _

from .master import BadRequest, NotFound, Refused, ask
from .retold import own_words, retold
from .speech import chinese, setting_rule
from .words import STATUS, error_sentence

bp = Blueprint("connections", __name__)

#: Seconds that a try may take beyond the usual.
TRY_WAIT = 25.0
#: Where the fault of the field for machines is, among those of settings.
MACHINES = "@machines"
#: Hosts that can be picked to try a connection on.
OFFERED = 200


@bp.get("/connections")
def index():
    """The ways to reach hosts, and the workers that serve them."""
    site = ask("status")
    found = ask("connections.list")["connections"] if is_admin() else site["connections"]
    return render_template("connections/list.html", **{**site, "connections": found})


@bp.get("/add-connection")
def new():
    """The form for a new connection of the kind that the address names; without one, the kinds.

    :raise 403: the person is no admin.
    """
    only_for_admins()
    return _form(request.args.get("kind", ""), {})


@bp.post("/add-connection")
def add():
    """Add a connection, and try it.

    :raise 400: something in the form cannot be; the page says what, at its field.
    """
    kind, name = request.form.get("kind", ""), request.form.get("name", "").strip()
    settings = {key: value for key, value in typed().items() if value}
    try:
        added = ask(
            "connections.add", wait=TRY_WAIT, connection=name, kind=kind, settings=settings, **_machines()
        )
    except (BadRequest, NotFound) as refused:
        return _form(kind, settings, name, refused), STATUS.get(refused.code, 400)
    if added["here"]:
        ask("connections.try", wait=TRY_WAIT, connection=name)
    return redirect(url_for("connections.show", name=name), 303)


@bp.get("/connections/<name>")
def show(name: str):
    """One connection with its settings.

    :raise 404: there is none of that name.
    """
    return _page(name)


@bp.post("/connections/<name>")
def change(name: str):
    """Change settings, and perhaps the name; a secret that is left empty stays as it is.

    :raise 400: something in the form cannot be; the page says what, at its field.
    """
    changes: dict[str, Any] = typed() | dict.fromkeys(request.form.getlist("forget"))
    machines = _machines()
    new_name = request.form.get("name", name).strip()
    try:
        if changes or machines:
            ask("connections.set", wait=TRY_WAIT, connection=name, settings=changes, **machines)
        if new_name != name:
            ask("connections.rename", connection=name, name=new_name)
    except BadRequest as refused:
        return _page(name, filled=changes, refused=refused), 400
    return redirect(url_for("connections.show", name=new_name, saved=1), 303)


@bp.post("/connections/<name>/try")
def try_(name: str):
    """Ask whether it is up, and perhaps one host, and say so on the page."""
    host = request.form.get("host", "").strip()
    try:
        trial = ask("connections.try", wait=TRY_WAIT, connection=name, host=host or None)
    except (BadRequest, NotFound) as refused:
        return _page(name, refused=refused), STATUS.get(refused.code, 400)
    return _page(name, trial=trial)


@bp.post("/connections/<name>/turn")
def turn(name: str):
    """Turn it on or off."""
    ask("connections.enable" if request.form.get("on") else "connections.disable", connection=name)
    return redirect(url_for("connections.show", name=name), 303)


@bp.post("/connections/<name>/remove")
def remove(name: str):
    """Remove it.

    :raise 400: hosts use it; the page says how many.
    """
    try:
        ask("connections.remove", connection=name)
    except BadRequest as refused:
        return _page(name, refused=refused), 400
    return redirect(url_for("connections.index"), 303)


def is_admin() -> bool:
    """Whether the person may change how hosts are reached; the master decides it again."""
    return bool(g.person["role"] == "admin")


def only_for_admins() -> None:
    """Stop somebody who could only fill in a form in vain.

    :raise 403: the person is no admin.
    """
    if not is_admin():
        abort(403)


def typed() -> dict[str, str]:
    """What the form says of each setting."""
    return {
        name.removeprefix("s."): value.strip()
        for name, value in request.form.items()
        if name.startswith("s.")
    }


def settings_of(kind: str) -> list[dict[str, Any]] | None:
    """The settings of a kind of connection; None where there is no such kind."""
    kinds = ask("connections.kinds")["kinds"]
    return next((each["settings"] for each in kinds if each["kind"] == kind), None)


def _machines() -> dict[str, list[str]]:
    """The machines that the form names, as an argument; none where it does not ask for them."""
    named = request.form.get("machines")
    return {} if named is None else {"machines": named.replace(",", " ").split()}


def _form(kind: str, filled: Mapping[str, Any], name: str = "", refused: Refused | None = None) -> str:
    kinds = ask("connections.kinds")["kinds"]
    chosen = next((each for each in kinds if each["kind"] == kind), None)
    declared = chosen["settings"] if chosen else []
    return render_template(
        "connections/new.html",
        kinds=kinds,
        kind=chosen and kind,
        declared=declared,
        filled=filled,
        name=name,
        machines=_machines().get("machines", chosen["machines"] if chosen else []),
        secrets=[],
        **_faults(declared, filled, refused),
    )


def _page(
    name: str,
    *,
    filled: Mapping[str, Any] | None = None,
    refused: Refused | None = None,
    trial: Mapping[str, Any] | None = None,
) -> str:
    found = ask("connections.show", connection=name)
    declared = settings_of(found["kind"]) or []
    return render_template(
        "connections/show.html",
        connection=found,
        declared=declared,
        filled=found["settings"] if filled is None else filled,
        secrets=found["secrets"],
        machines=found["machines"] if filled is None else _machines().get("machines", found["machines"]),
        name=name,
        trial=trial,
        saved="saved" in request.args,
        hosts=ask("hosts.list", limit=OFFERED, connection=name)["hosts"] if found["hosts"] else [],
        **_faults(declared, filled or {}, refused),
    )


def _faults(
    declared: list[dict[str, Any]], filled: Mapping[str, Any], refused: Refused | None
) -> dict[str, Any]:
    """What is wrong: at fields by name, or with the whole."""
    if refused is None:
        return {"faults": {}, "problem": "", "detail": ""}
    field = str(refused.details.get("field", ""))
    setting = next((each for each in declared if field == f"settings.{each['name']}"), None)
    if setting is not None:
        said = _("This field must be filled in.") if not filled.get(setting["name"]) else retold(refused.text)
        fault = setting_rule(setting) if chinese() and said == refused.text else said
        return {"faults": {setting["name"]: fault}, "problem": "", "detail": ""}
    if field == "machines":
        return {"faults": {MACHINES: retold(refused.text)}, "problem": "", "detail": ""}
    if field == "connection" and request.endpoint != "connections.remove":
        return {"faults": {"": retold(refused.text)}, "problem": "", "detail": ""}
    return {"faults": {}, "problem": error_sentence(refused.code), "detail": own_words(refused)}
