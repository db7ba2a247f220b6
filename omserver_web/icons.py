"""The icons of the console, by the names that Tabler gives them.

The build makes one sprite of exactly these; a template draws one with ``{{ icon("server-2") }}``.
"""

from __future__ import annotations

from flask import url_for
from markupsafe import Markup

ICONS = (
    "alert-triangle",
    "apps",
    "arrow-down",
    "arrow-left",
    "arrow-up",
    "ban",
    "check",
    "chevron-down",
    "chevron-right",
    "circle-check",
    "circle-dashed",
    "circle-x",
    "clock",
    "copy",
    "database-import",
    "dots",
    "download",
    "eye",
    "flask",
    "help-circle",
    "history",
    "hourglass",
    "hourglass-off",
    "info-circle",
    "language",
    "list-details",
    "loader-2",
    "lock",
    "logout",
    "moon",
    "pencil",
    "pin",
    "pinned-off",
    "player-pause",
    "player-play",
    "player-skip-forward",
    "plug-connected",
    "plug-connected-x",
    "plus",
    "refresh",
    "repeat",
    "repeat-off",
    "route-off",
    "search",
    "send",
    "server-2",
    "settings",
    "shield-check",
    "sun",
    "sun-moon",
    "trash",
    "user",
    "users",
    "x",
)


def icon(name: str, more: str = "") -> Markup:
    """The icon *name* as it stands in a page; *more* are further CSS classes.

    Raises:
        KeyError: it is not in `ICONS`, so the sprite does not hold it.
    """
    if name not in ICONS:
        raise KeyError(f"{name} is not in ICONS")
    sprite = url_for("static", filename="vendor/icons.svg")
    return Markup('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>').format(
        more, sprite, name
    )
