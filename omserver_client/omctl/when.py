"""Moments as words of omctl's command line: a date, a date and time, or a span from now."""

from __future__ import annotations

import re
import time
from datetime import datetime

import click

_SPAN = re.compile(r"\+(\d{1,5})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


def moment(text: str) -> float:
    """``+90m``, ``+2h``, ``+3d``, ``2026-11-27 18:00`` (this machine's clock) or ``2026-11-27T18:00+01:00``.

    A date alone is its beginning. The answer is in unix seconds.

    Raises:
        click.BadParameter: it is none of these.
    """
    if span := _SPAN.fullmatch(text):
        return time.time() + int(span[1]) * _SECONDS[span[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no time; say 2026-11-27 18:00, or +2h, or +3d.") from None
