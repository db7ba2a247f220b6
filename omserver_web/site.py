"""The site: its people, and one's own settings."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from flask_babel import gettext as _

from .master import BadRequest, LoginFailed, ask
from .retold import retold
from .words import error_sentence

bp = Blueprint("site", __name__)


@bp.get("/people")
def people():
    """Who may do what.

    :raise 403: the person is no admin.
    """
    return render_template("site/people.html", **ask("people.list"))


@bp.get("/settings")
def settings():
    """One's own language, light and password."""
    return render_template("site/settings.html", changed="changed" in request.args)


@bp.post("/settings/password")
def change_password():
    """Change one's own password.

    :raise 400: the two new ones differ, or the master does not take it.
    """
    old, new, again = (request.form.get(name, "") for name in ("old", "new", "again"))
    if not new or new != again:
        return _not_changed(_("The two new passwords are not the same."))
    try:
        ask("auth.password", old=old, new=new)
    except LoginFailed:
        return _not_changed(_("The old password is not right."))
    except BadRequest as refused:
        return _not_changed(error_sentence(refused.code), retold(refused.text))
    return redirect(url_for("site.settings", changed=1), 303)


def _not_changed(problem: str, detail: str = "") -> tuple[str, int]:
    return render_template("site/settings.html", problem=problem, detail=detail), 400
