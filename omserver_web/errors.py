"""Every way a request can go wrong, and the page that says so.

A page of error says what happened, what was not changed, and what to do. Nothing of it comes from a stack.
"""

from __future__ import annotations

import logging
import secrets
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from .guard import is_part, local_path
from .master import LoginRequired, NotReached, OMServerError, Refused, SessionExpired
from .retold import own_words
from .visit import forget
from .words import STATUS, error_sentence

log = logging.getLogger(__name__)


def add_handlers(app: Flask) -> None:
    """Give *app* a page for each kind of error."""
    app.register_error_handler(LoginRequired, ask_to_sign_in)
    app.register_error_handler(SessionExpired, ask_to_sign_in)
    app.register_error_handler(NotReached, master_is_down)
    app.register_error_handler(Refused, master_refused)
    app.register_error_handler(OMServerError, master_not_understood)
    app.register_error_handler(CSRFError, form_is_stale)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, we_failed)


def problem(status: int, title: str, text: str, **more: object) -> Response:
    """A page (or, for a part of a page, a line) that says what went wrong."""
    part = is_part(request.headers)
    template = "errors/_part.html" if part else "errors/problem.html"
    return make_response(render_template(template, title=title, text=text, status=status, **more), status)


def ask_to_sign_in(error: Refused) -> Response:
    """Send the person to sign in, and back to the page afterwards."""
    query = {"next": _page_to_return_to()}
    if isinstance(error, SessionExpired):
        query["expired"] = "1"
    target = f"{url_for('sign.show')}?{urlencode(query)}"
    if is_part(request.headers):
        response = make_response(error_sentence(error.code), 401)
        response.headers["HX-Redirect"] = target
    else:
        response = make_response(redirect(target, 303))
    if isinstance(error, SessionExpired):
        forget(response)
    return response


def _page_to_return_to() -> str:
    if request.method == "GET" and not is_part(request.headers):
        return local_path(request.full_path.rstrip("?"))
    shown = urlsplit(request.headers.get("Referer", ""))
    path = f"{shown.path}?{shown.query}" if shown.query else shown.path
    return local_path(path) if shown.netloc == request.host else "/"


def master_is_down(error: NotReached) -> Response:
    """Say that the master is away; the page tries again by itself."""
    log.warning("master not reached: %s", error)
    again = None
    if request.method == "POST" and request.endpoint != "sign.enter":
        again = [(name, value) for name, value in request.form.items(multi=True) if name != "csrf_token"]
    return problem(
        503,
        _("The master does not answer"),
        _("The console works, but the master behind it cannot be reached."),
        down=True,
        again=again,
    )


def master_refused(error: Refused) -> Response:
    """Say what the master refused, in the person's language."""
    status = STATUS.get(error.code, 400)
    more = {"reference": error.details.get("request"), "hosts": error.details.get("hosts")}
    return problem(status, *_refusal_words(error), detail=own_words(error), **more)


def _refusal_words(error: Refused) -> tuple[str, str]:
    titles = {403: _("Not allowed"), 404: _("Not found"), 429: _("Too many tries"), 503: _("Not now")}
    title = titles.get(STATUS.get(error.code, 400), _("That did not work"))
    return title, error_sentence(error.code, error.text)


def master_not_understood(error: OMServerError) -> Response:
    """Say that master and console do not understand each other."""
    log.error("master not understood: %s", error)
    return problem(
        502,
        _("The master refused the console"),
        _("The console's key was not accepted, or the two speak different versions. Nothing was changed."),
        detail=str(error),
    )


def form_is_stale(error: CSRFError) -> Response:
    """Refuse a form that was not made for this sign-in."""
    return problem(
        400,
        _("This form is no longer valid"),
        _("It was made before you signed in, or elsewhere. Nothing was changed. Open the page again."),
        back=local_path(urlsplit(request.headers.get("Referer", "")).path),
    )


def http_error(error: HTTPException) -> Response:
    """Say what HTTP says, in words."""
    status = error.code or 500
    title, text = _http_words().get(
        status, (_("That did not work"), _("The request could not be served. Nothing was changed."))
    )
    response = problem(status, title, text)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(allowed)
    return response


def _http_words() -> dict[int, tuple[str, str]]:
    return {
        400: (_("Bad request"), _("The request could not be understood. Nothing was changed.")),
        403: (_("Not allowed"), _("The request came from another site. Nothing was changed.")),
        404: (_("Not found"), _("There is no such page, or it was moved.")),
        405: (_("Not this way"), _("This address takes a form, not a link. Nothing was changed.")),
        413: (_("Too long"), _("What you sent is longer than the console takes. Nothing was changed.")),
    }


def we_failed(error: Exception) -> Response:
    """Own up to a mistake of ours; the log has it under the same number."""
    reference = secrets.token_hex(4)
    log.exception("request %s failed", reference, exc_info=error)
    return problem(
        InternalServerError.code,
        _("The console failed"),
        _("This is a mistake of ours. What you did may not have been done; look under Jobs before a repeat."),
        reference=reference,
    )
