"""Labels: words of the site's own about a host, such as which pair it belongs to, or its rack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from omserver_client.errors import BadRequest

#: What a label is called.
LABEL_NAME: Final = r"[a-z0-9][a-z0-9_.-]{0,62}"
_NAME = re.compile(LABEL_NAME)
#: A host has no more of them, and no value is longer.
MOST: Final = 50
LONGEST: Final = 255


def read_labels(text: str) -> dict[str, str]:
    """The labels that *text* tells, like ``pair=db-a, rack=r3``; an empty value takes a label away.

    Raises:
        BadRequest: it is not like that.
    """
    told: dict[str, str] = {}
    for label in filter(None, map(str.strip, text.split(","))):
        name, equals, value = map(str.strip, label.partition("="))
        if not equals or not _NAME.fullmatch(name):
            raise BadRequest(f"'{label[:80]}' is no label like pair=db-a.", field="labels")
        if len(value) > LONGEST or not value.isprintable() or "=" in value:
            text = f"What a label says is up to {LONGEST} printable characters."
            raise BadRequest(text, field="labels")
        told[name] = value
    return told


def relabelled(before: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """The labels of a host that had those *before*, after what was *told*.

    Raises:
        BadRequest: they are too many.
    """
    left = {name: value for name, value in {**before, **told}.items() if value}
    if len(left) > MOST:
        raise BadRequest(f"A host has {MOST} labels at most.", field="labels")
    return left
