"""Modules: what there is to run, and what is broken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, render_template, request

from .master import ask
from .speech import local

bp = Blueprint("modules", __name__, url_prefix="/modules")


@bp.get("")
def index():
    """The modules, by number."""
    search = request.args.get("q", "").strip()
    modules = ask("modules.list")["modules"]
    return render_template(
        "modules/list.html", modules=[each for each in modules if matches(each, search)], search=search
    )


@bp.get("/<id>")
def show(id: str):
    """One module: its parameters, its manners, its file.

    :raise 404: there is no such module.
    """
    module = ask("modules.show", module=id)
    return render_template("modules/show.html", module=module, doc=_more_words(module))


def _more_words(module: Mapping[str, Any]) -> str:
    """What the file says of itself, where that is more than its title and caption."""
    doc = module.get("doc") or ""
    said = f"{module['title']} {module['caption']}".split()
    return "" if doc.split() == said or doc.split() == module["title"].split() else doc


def matches(module: Mapping[str, Any], search: str) -> bool:
    """Whether every word of *search* is somewhere in the number, titles or caption of *module*."""
    text = f"{module['id']} {module['title']} {module['title_zh']} {local(module, 'caption')}".lower()
    return all(word in text for word in search.lower().split())
