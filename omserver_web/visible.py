"""What a host printed, as text that cannot do anything.

Bytes become letters; whatever a terminal or a browser would act upon becomes something to look at instead:
ESC is shown as ␛, a byte that is not UTF-8 as \\xNN, a character that turns text around as its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

#: A terminal's control sequence: shown as one piece, so that what is around it stays readable.
_SEQUENCE = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)"
#: Control characters except tab and line feed; bytes that are not UTF-8; whatever turns, joins, hides or tags
#: text (all that Unicode calls "format", and some that are blank).
_SINGLE = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffc\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_HIDDEN = re.compile(f"{_SEQUENCE}|{_SINGLE}")

_PIECE = Markup('<span class="ctl">{}</span>')


def visible(content: bytes) -> Markup:
    """*content* as safe markup: text, with what was hidden in it made visible."""
    text = content.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    return Markup("").join(_pieces(text))


def _pieces(text: str) -> Iterator[Markup]:
    done = 0
    for match in _HIDDEN.finditer(text):
        yield escape(text[done : match.start()])
        yield _PIECE.format("".join(map(picture, match[0])))
        done = match.end()
    yield escape(text[done:])


def picture(letter: str) -> str:
    """How one character is shown: itself if it is harmless."""
    code = ord(letter)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if _HIDDEN.fullmatch(letter):
        return f"\\x{code:02x}" if code < 0x100 else f"U+{code:04X}"
    return letter


def plain(text: str) -> Markup:
    """One line of text from a host or a person, made visible in the same way."""
    return visible(text.encode("utf-8", "surrogatepass" if _has_surrogate(text) else "strict"))


def shown(text: str) -> str:
    """*text* with what was hidden in it made visible, for where there can be no markup; not yet escaped."""
    return _HIDDEN.sub(lambda match: "".join(map(picture, match[0])), text)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def whole_letters(content: bytes) -> bytes:
    """*content* without a letter that was cut at its end, so that the next part can begin with it."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0xC0 == 0xC0:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return content[:-back] if back < width else content
        if byte & 0xC0 != 0x80:
            break
    return content
