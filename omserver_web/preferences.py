"""What a person likes: the language, and light or dark. Kept by the browser, changed by a form."""

from __future__ import annotations

from flask import Blueprint, make_response, redirect, request

from .guard import local_path
from .visit import keep

bp = Blueprint("preferences", __name__)

LANGUAGES = {"en": "English", "zh": "中文"}
LIGHTS = ("auto", "light", "dark")


@bp.post("/preferences")
def save():
    """Keep a choice and go back to the page."""
    response = make_response(redirect(local_path(request.form.get("next")), 303))
    for name, allowed in (("lang", LANGUAGES), ("light", LIGHTS)):
        chosen = request.form.get(name)
        if chosen in allowed:
            keep(response, f"omserver_{name}", chosen)
    return response


def language() -> str:
    """The language of this request: chosen, else the best that the browser asks for."""
    chosen = request.cookies.get("omserver_lang")
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(["en", "zh", "zh-CN", "zh-TW", "zh-HK"], "en")[:2]


def light() -> str:
    """What this request's person chose: auto, light or dark."""
    chosen = request.cookies.get("omserver_light")
    return chosen if chosen in LIGHTS else "auto"
