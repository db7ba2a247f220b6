"""The pretend shell of the invented hosts: a few commands joined by ``;``, of which none is really run.

    echo WORDS [>&2 | >>PATH]    hostname    sleep SECONDS    touch PATH    exit NUMBER

Files are kept in a folder of the host's own.
"""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote


class PretendShell:
    """One command on one invented host; ``out`` and ``err`` are what it wrote so far."""

    def __init__(self, host: str, files: Path) -> None:
        self.host = host
        self.files = files
        self.out = bytearray()
        self.err = bytearray()

    async def obey(self, work: dict[str, Any]) -> int:
        """Do as *work* (a Run as JSON values) says; the return code."""
        if work.get("argv"):
            commands = [list(work["argv"])]
        else:
            commands = [shlex.split(command) for command in (work.get("shell") or "").split(";")]
        for words in commands:
            match words:
                case ["exit", number]:
                    return int(number)
                case ["sleep", seconds]:
                    await asyncio.sleep(float(seconds))
                case ["hostname"]:
                    self.out += f"{self.host}\n".encode()
                case ["touch", path]:
                    self.write(path, "")
                case ["echo", *said]:
                    self.echo(said)
                case _:
                    self.err += b"no command that an invented host understands\n"
                    return 127
        return 0

    def echo(self, words: list[str]) -> None:
        """Say *words* where the last of them tells."""
        target = words.pop() if words and words[-1].startswith(">") else ""
        text = " ".join(words) + "\n"
        if target.startswith(">>"):
            self.write(target[2:], text)
        elif target == ">&2":
            self.err += text.encode()
        else:
            self.out += text.encode()

    def write(self, path: str, text: str) -> None:
        """Append to a file of this host."""
        place = file_of(self.files, self.host, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a") as file:
            file.write(text)


def file_of(files: Path, host: str, path: str) -> Path:
    """Where the file *path* of an invented host really lies."""
    return files / quote(host, safe="") / quote(path, safe="")
