"""How tests run omctl, and what they see of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import NamedTuple

RUN = ("run", "1001", "--host", "web-01", "--host", "web-02", "-p", "lines=20")


class Ended(NamedTuple):
    """How one run of omctl ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.out)
        return found


Omctl = Callable[..., Ended]


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What omctl has said on its terminal when it has said *wanted*."""
    said = b""
    while wanted not in said:
        said += os.read(terminal, 1000)
    return said
