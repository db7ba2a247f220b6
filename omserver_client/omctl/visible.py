"""Text that came from a host, made safe for a terminal: nothing in it acts, everything in it is seen."""

from __future__ import annotations

import unicodedata

#: Line ends and tabs are what text is made of; every other control or format character is shown escaped.
_HARMLESS = "\n\t"
#: Control, format (bidirectional marks, zero width), lone halves, private use, line and paragraph separators.
_SHOWN_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def visible(text: str) -> str:
    """*text* with its control characters written out, for example ESC as ``\\x1b``."""
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def visible_line(text: str) -> str:
    """Like `visible`, and line ends and tabs are written out as well."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def visible_bytes(output: bytes) -> str:
    """What a host printed; bytes that are not UTF-8 are written out as ``\\xff``."""
    return visible(output.decode("utf-8", errors="backslashreplace"))


def _is_harmless(character: str) -> bool:
    if character.isascii():
        return character.isprintable() or character in _HARMLESS
    return unicodedata.category(character) not in _SHOWN_ESCAPED


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
