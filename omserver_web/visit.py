"""Who is visiting: two cookies, neither of which says anything by itself.

``omserver`` holds the session token that the master gave at sign-in, and nothing else. ``omserver_visit`` is
a random number for people who have not signed in yet. Flask's ``session`` is made anew from them at each
request: it holds the seed of the form tokens, so that a form works only for the sign-in (or visit) that it
was made for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from flask import Flask, Request, Response, current_app
from flask.sessions import SessionInterface, SessionMixin


class Visit(dict, SessionMixin):
    """What Flask calls a session; nothing in it is kept."""

    #: A number to be sent to a visitor who came without one.
    fresh: str | None = None


class Visits(SessionInterface):
    """Makes each request's `Visit` from its cookies."""

    def open_session(self, app: Flask, request: Request) -> Visit:
        """The visit of *request*."""
        visit = Visit()
        number = session_token(request) or request.cookies.get(visit_cookie())
        if not number:
            number = visit.fresh = secrets.token_urlsafe(24)
        seed = hmac.new(app.config["SECRET_KEY"].encode(), number.encode(), hashlib.sha256)
        visit["csrf_token"] = seed.hexdigest()
        return visit

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Give a visitor without a number the one that was made for this page."""
        fresh = getattr(session, "fresh", None)
        if fresh and response.mimetype == "text/html":
            _set(response, visit_cookie(), fresh)


def session_cookie() -> str:
    """The name of the cookie that holds the session token."""
    return _prefixed("omserver")


def visit_cookie() -> str:
    """The name of the cookie that tells one visitor's forms from another's."""
    return _prefixed("omserver_visit")


def session_token(request: Request) -> str | None:
    """The session token that *request* brings; the master judges it."""
    return request.cookies.get(session_cookie()) or None


def remember(response: Response, token: str) -> None:
    """Give the browser the session token; it forgets it when it closes, the master before that."""
    _set(response, session_cookie(), token)


def forget(response: Response) -> None:
    """Take the session token back."""
    response.delete_cookie(session_cookie(), **_flags())


def keep(response: Response, name: str, choice: str) -> None:
    """Keep a person's *choice* of language or light for a year."""
    _set(response, name, choice, max_age=365 * 24 * 3600)


def _prefixed(name: str) -> str:
    return f"__Host-{name}" if current_app.config["HTTPS"] else name


def _flags() -> dict[str, object]:
    return {"path": "/", "httponly": True, "samesite": "Lax", "secure": current_app.config["HTTPS"]}


def _set(response: Response, name: str, content: str, **more: object) -> None:
    response.set_cookie(name, content, **_flags(), **more)
