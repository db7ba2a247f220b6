"""Audit: who did what, when, from where, and how it ended. For admins."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from .master import ask
from .numbers import number

bp = Blueprint("audit", __name__, url_prefix="/audit")

PAGE = 100


@bp.get("")
def index():
    """The audit rows, newest first.

    :raise 403: the person is no admin.
    """
    wanted = {name: request.args.get(name, "").strip() for name in ("user", "action")}
    asked = {name: text or None for name, text in wanted.items()}
    answer = ask("audit.list", limit=PAGE, before=number(request.args.get("before")), **asked)
    return render_template("audit/list.html", **answer, wanted=wanted)
