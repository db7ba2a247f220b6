"""Who may come in: nobody, except by a page that says so."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, request
from flask_wtf.csrf import CSRFProtect
from werkzeug.exceptions import SecurityError

from .master import LoginRequired, ask
from .visit import session_token

#: What can be seen without signing in. Everything else asks for a session first, also what does not exist.
OPEN = frozenset({"static", "sign.show", "sign.enter", "preferences.save", "health.show"})

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def guard(app: Flask) -> None:
    """Put the guards before and after every view of *app*."""
    app.before_request(refuse_other_names)
    app.before_request(refuse_other_origins)
    CSRFProtect(app)
    app.before_request(require_person)
    app.after_request(add_headers)


def refuse_other_names() -> Response | None:
    """Refuse a request that calls us by a name that is not ours: a foreign name may point at us tomorrow.

    :raise 400: the Host header is none of ``OMSERVER_WEB_NAMES``, nor this machine.
    """
    if isinstance(request.routing_exception, SecurityError):
        text = "400: this console is not known by that name; OMSERVER_WEB_NAMES lists its names.\n"
        return Response(text, 400, mimetype="text/plain")
    return None


def refuse_other_origins() -> None:
    """Refuse a change that another site's page asks for, before anything is read of it.

    :raise 403: the browser says that the request comes from elsewhere.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        abort(403)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(403)


def require_person() -> None:
    """Ask the master whose session this is.

    Raises:
        LoginRequired: the request brings none.
        SessionExpired: it brings one that is over.
    """
    if request.endpoint in OPEN:
        return
    g.session_token = session_token(request)
    if g.session_token is None:
        raise LoginRequired
    # The top of every page says how many jobs are paused; a part of a page has no top.
    g.person = ask("auth.whoami", paused=None if is_part(request.headers) else True)


def is_part(headers) -> bool:
    """Whether the browser asks for a part of a page that is shown already."""
    return "HX-Request" in headers or headers.get("X-Requested-With") == "fetch"


def add_headers(response: Response) -> Response:
    """Tell the browser what our pages never do."""
    headers = response.headers
    headers["Content-Security-Policy"] = CONTENT_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if request.endpoint != "static":
        headers["Cache-Control"] = "no-store"
    if request.is_secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return response


def local_path(target: str | None) -> str:
    """*target* if it is a page of ours, else the start page: nobody is led away by a link to us.

    A path counts only if every browser reads it as one: it starts with a single slash, and holds no
    backslash and no control character.
    """
    if not target or not target.startswith("/") or target.startswith("//"):
        return "/"
    if "\\" in target or any(ord(letter) < 0x21 for letter in target):
        return "/"
    return target
