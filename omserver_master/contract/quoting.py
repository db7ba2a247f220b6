"""Shell text of the author's words, that go out as they are, and the user's, that are quoted.

    >>> render("tail -n", ("20", "/var/log/a b"))
    "tail -n 20 '/var/log/a b'"

A quoted word is only safe where the shell reads it as a word. Text of the author that ends inside quotes,
backticks, a comment, a here-document, arithmetic or ``${``, or that hands the next word to ``eval`` or
``sh -c``, is therefore refused when the module is loaded.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_HANDS_ON_CODE = re.compile(r"(^|[\s;&|(/])(eval|trap|(ba|da|z|k|a)?sh\s(.*\s)?-\w*c|su\s(.*\s)?-c)\s*$")
_OPENS = {"'": "single quotes", '"': "double quotes", "`": "backticks"}
#: The longest single argument that Linux takes, less some air for the shell's own words.
MAX_TEXT = 120_000


class UnsafeText(ValueError):
    """A parameter cannot follow this text safely."""


def render(text: str, words: Iterable[str]) -> str:
    """*text* as it is, then each of *words* as one quoted word."""
    return " ".join((text, *map(shlex.quote, words)))


def check_author_text(text: str) -> None:
    """Make sure that a quoted word may follow *text*.

    Raises:
        UnsafeText: the shell would not read what follows as a word of its own.
    """
    inside = _open_at_end(text)
    if inside:
        raise UnsafeText(f"{text!r} ends inside {inside}, where quoting does not protect")
    if _HANDS_ON_CODE.search(text):
        raise UnsafeText(f"{text!r} would run the parameter as code")


def _open_at_end(text: str) -> str:
    """Name what is still open when *text* is over; "" when a word may follow."""
    plain, inside = _without_quotes(text)
    if inside:
        return inside
    for opener, closer, name in (("$((", "))", "arithmetic"), ("((", "))", "arithmetic"), ("${", "}", "${")):
        if plain.count(opener) > plain.count(closer):
            return name
    return "a here-document" if re.search(r"<<", plain) else ""


def _without_quotes(text: str) -> tuple[str, str]:
    """*text* with what is quoted or commented left out, and the name of a quote still open at its end."""
    plain, quote, position = "", "", 0
    while position < len(text):
        char = text[position]
        if char == "\\" and quote != "'":
            if position + 1 == len(text):
                return plain, "a backslash"
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in _OPENS:
            quote = char
        elif char == "#" and (not plain or plain[-1] in " \t\n;&|("):
            newline = text.find("\n", position)
            if newline < 0:
                return plain, "a comment"
            position = newline - 1
        else:
            plain += char
        position += 1
    return plain, _OPENS.get(quote, "")
