"""Sign in and out."""

from __future__ import annotations

from flask import Blueprint, g, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _

from .guard import local_path
from .master import LoginFailed, Refused, TooMany, ask, current_master
from .visit import forget, remember, session_token
from .words import error_sentence

bp = Blueprint("sign", __name__)


@bp.get("/sign-in")
def show():
    """The sign-in page."""
    return _page()


@bp.post("/sign-in")
def enter():
    """Sign in, under a new session token, and go to the page that was wanted.

    :raise 401: name or password is not right.
    :raise 429: too many tries.
    """
    user, password = request.form.get("user", "").strip(), request.form.get("password", "")
    if not (user and password):
        return _page(_("Type your name and your password.")), 400
    try:
        signed = current_master().call("auth.login", {"user": user, "password": password})
    except (LoginFailed, TooMany) as refused:
        return _page(_refusal(refused)), 429 if isinstance(refused, TooMany) else 401
    _end_session()
    response = make_response(redirect(local_path(request.form.get("next")), 303))
    remember(response, signed["session"])
    return response


@bp.post("/sign-out")
def leave():
    """Sign out: the master forgets the session, the browser its token."""
    _end_session()
    response = make_response(redirect(url_for("sign.show", out=1), 303))
    forget(response)
    return response


def _page(problem: str = "") -> str:
    wanted = local_path(request.values.get("next"))
    return render_template(
        "sign/in.html", problem=problem, next=wanted, user=request.form.get("user", "").strip()
    )


def _refusal(refused: Refused) -> str:
    seconds = refused.details.get("retry_after")
    if isinstance(refused, TooMany) and seconds:
        return _("Too many tries. Try again in %(seconds)s s.", seconds=round(seconds))
    return error_sentence(refused.code, refused.text)


def _end_session() -> None:
    g.session_token = session_token(request)
    if g.session_token is None:
        return
    try:
        ask("auth.logout")
    except Refused:
        return  # it was over already
