"""Times as people say them; the exact one is always there, to hover over."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from flask_babel import format_timedelta
from flask_babel import gettext as _
from markupsafe import Markup

_TIME = Markup('<time datetime="{iso}" title="{exact}">{words}</time>')


def ago(moment: float | None) -> Markup:
    """*moment* (unix seconds) relative to now; script turns the exact time into the person's own zone."""
    if moment is None:
        return Markup('<span class="faint">–</span>')
    exact = datetime.fromtimestamp(moment, UTC)
    return _TIME.format(
        iso=exact.isoformat(timespec="seconds"), exact=f"{exact:%Y-%m-%d %H:%M:%S} UTC", words=_words(moment)
    )


def _words(moment: float) -> str:
    seconds = moment - time.time()
    if abs(seconds) < 5:
        return _("just now")
    return format_timedelta(seconds, add_direction=True, threshold=1.2)


def exact(moment: float | None) -> Markup:
    """*moment* to the second; script turns it into the person's own zone."""
    if moment is None:
        return Markup('<span class="faint">–</span>')
    when = datetime.fromtimestamp(moment, UTC)
    words = f"{when:%Y-%m-%d %H:%M:%S}"
    return Markup('<time datetime="{}" title="{} UTC" data-exact>{}</time>').format(
        when.isoformat(timespec="seconds"), words, words
    )


def lasted(seconds: float | None) -> str:
    """A duration: 0.8 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return _("%(seconds)s s", seconds=f"{max(seconds, 0):.1f}")
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return _("%(seconds)s s", seconds=rest)
    if minutes < 60:
        return _minutes(minutes, rest)
    return _("%(hours)s h %(minutes)s min", hours=minutes // 60, minutes=minutes % 60)


def _minutes(minutes: int, seconds: int) -> str:
    if not seconds:
        return _("%(minutes)s min", minutes=minutes)
    return _("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=seconds)


def amount(count: int | None) -> str:
    """A number of bytes: 812 B, 4.2 KiB, 3.1 MiB."""
    size = float(count or 0)
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024 or unit == "GiB":
            break
    return f"{size:.1f} {unit}"
