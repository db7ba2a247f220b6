"""Moments as words of omctl's command line: a day, a date and time, or a span from now."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

import click

_SPAN = re.compile(r"\+(\d{1,5})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_DAY = re.compile(r"([a-z]+)(?:\s+(\d{1,2}):(\d{2}))?")
_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def moment(text: str) -> float:
    """``friday``, ``fri 18:00``, ``tomorrow``, ``+90m``, ``+2h``, ``+3d``, ``2026-11-27 18:00`` or
    ``2026-11-27T18:00+01:00``, by this machine's clock where no other is named.

    A day by its name lasts until its end; a weekday is the next one whose time is to come, today or within a
    week. A date alone is its beginning. The answer is in unix seconds.

    Raises:
        click.BadParameter: it is none of these.
    """
    if span := _SPAN.fullmatch(text):
        return time.time() + int(span[1]) * _SECONDS[span[2]]
    try:
        named = _named(text.strip().lower(), datetime.now())
        return (named or datetime.fromisoformat(text)).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; say friday, fri 18:00, 2026-11-27 18:00, or +2h, or +3d."
        ) from None


def past(text: str) -> float:
    """``2h``, ``3d`` or ``90m`` ago, ``today`` and ``yesterday`` from their beginning, or a date and time.

    By this machine's clock where no other is named; the answer is in unix seconds.

    Raises:
        click.BadParameter: it is none of these.
    """
    said = text.strip().lower()
    if span := _SPAN.fullmatch(f"+{said}"):
        return time.time() - int(span[1]) * _SECONDS[span[2]]
    try:
        if said in ("today", "yesterday"):
            today = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
            return (today - timedelta(said == "yesterday")).astimezone().timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; say 2h, 3d, today, yesterday, or 2026-11-27 18:00."
        ) from None


def whole_moment(seconds: float) -> str:
    """A moment as nobody can mistake it: weekday, date, time and time zone of this machine."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%A %Y-%m-%d %H:%M:%S %Z")


def _named(text: str, now: datetime) -> datetime | None:
    """The moment of a day by its name, on the wall where it is *now*; None if it is none.

    Raises:
        ValueError: there is no such time of day.
    """
    found = _DAY.fullmatch(text)
    days = _days_until(found[1], now) if found else None
    if found is None or days is None:
        return None
    day = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days)
    if found[2] is None:
        return day + timedelta(1)
    at = day.replace(hour=int(found[2]), minute=int(found[3]))
    return at + timedelta(7) if at <= now and days == 0 and found[1] != "today" else at


def _days_until(word: str, now: datetime) -> int | None:
    """The days from today to a day that is called so; None if none is."""
    if word in ("today", "tomorrow"):
        return 0 if word == "today" else 1
    weekdays = [number for number, name in enumerate(_WEEK) if len(word) >= 3 and name.startswith(word)]
    return (weekdays[0] - now.weekday()) % 7 if weekdays else None
