"""Send files, in pieces of 60,000 bytes."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from ..module import FuncModule

_CHUNK = 60_000


class GetFile(FuncModule):
    """See the top of the file."""

    version = "0.0.1"
    api_version = "0.0.1"
    description = "Allows for smart getting of a file."

    def chunkslen(self, path: str) -> int:
        """The number of pieces; -1: it can't be read."""
        try:
            with Path(path).open("rb") as file:
                return -(-file.seek(0, 2) // _CHUNK)
        except (OSError, ValueError):
            return -1

    def getchunk(self, number: int, path: str) -> list[Any]:
        """[SHA-1 of the text, the piece as base64 text], or [-1, ""]; the first piece is 0."""
        try:
            with Path(path).open("rb") as file:
                file.seek(int(number) * _CHUNK)
                text = base64.b64encode(file.read(_CHUNK))
        except (OSError, ValueError):
            return [-1, ""]
        return [hashlib.sha1(text, usedforsecurity=False).hexdigest(), text.decode("ascii")]
