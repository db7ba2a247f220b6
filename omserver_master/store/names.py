"""Names are unique whatever their case: what they are compared by, and which are acceptable."""

from __future__ import annotations

import unicodedata

from omserver_client.errors import BadRequest

LONGEST = 255


def name_key(name: str) -> str:
    """The form in which two spellings of one name are equal."""
    return unicodedata.normalize("NFC", name).lower()


def check_name(name: str, what: str, *, refused: str = "") -> str:
    """*name* itself, if it is printable, without spaces around it, and has none of the characters *refused*.

    Raises:
        BadRequest: it is not; *what* (``user``, ``host``) is the field.
    """
    if not 0 < len(name) <= LONGEST or name != name.strip() or not name.isprintable():
        raise BadRequest(
            f"{name[:64]!r} is not a {what} name: 1 to {LONGEST} printable characters.", field=what
        )
    if any(letter in name for letter in refused):
        raise BadRequest(f"A {what} name must not contain any of {' '.join(refused)}.", field=what)
    return name
