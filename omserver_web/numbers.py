"""Whole numbers in addresses and forms, as far as they are ours."""

from __future__ import annotations

from werkzeug.routing import IntegerConverter

#: More digits than this are no number of ours: ids and offsets stay below.
DIGITS = 15


def number(text: str | None) -> int | None:
    """What *text* says in the digits 0 to 9, at most `DIGITS` of them; None for anything else."""
    if text and text.isascii() and text.isdigit() and len(text) <= DIGITS:
        return int(text)
    return None


class Number(IntegerConverter):
    """``<int:job>`` of an address: what `number` takes; an address with anything else is not found."""

    regex = f"[0-9]{{1,{DIGITS}}}"
