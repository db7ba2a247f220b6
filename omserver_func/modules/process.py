"""Look at processes, and end them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from ..errors import FuncError
from ..module import FuncModule

_FLAGS = re.compile(r"-?[A-Za-z]{0,20}")
_SIGNAL = re.compile(r"(?:SIG)?[A-Z]+[0-9+-]*|[0-9]{1,2}")
_SECONDS = 60
_KINDS = {"Pss:": "total", "Private_Clean:": "private", "Private_Dirty:": "private"}


class ProcessModule(FuncModule):
    """See the top of the file."""

    version = "0.0.1"
    api_version = "0.0.1"
    description = "Process related reporting and control."

    def info(self, flags: str = "-auxh") -> list[list[str]]:
        """What ``ps`` says with these flags: the words of each line."""
        if not isinstance(flags, str) or not _FLAGS.fullmatch(flags):
            raise FuncError("ps takes flags like -auxh.")
        listing = _run(["ps", flags] if flags else ["ps"])
        return [line.split() for line in listing.stdout.splitlines()]

    def loadavg(self) -> list[str]:
        """The five words of /proc/loadavg."""
        return Path("/proc/loadavg").read_text(encoding="ascii").split()

    def mem(self) -> list[list[Any]]:
        """[private, shared, total, name] in KiB of each program, the smallest first."""
        programs: dict[str, dict[str, int]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
                lines = (folder / "smaps_rollup").read_text(encoding="ascii", errors="replace").splitlines()
            except OSError:
                continue
            sums = programs.setdefault(name, {"total": 0, "private": 0})
            for words in map(str.split, lines):
                if words and words[0] in _KINDS:
                    sums[_KINDS[words[0]]] += int(words[1])
        rows: list[list[Any]] = [
            [one["private"], max(0, one["total"] - one["private"]), one["total"], name]
            for name, one in programs.items()
        ]
        return sorted(rows, key=lambda row: (row[2], row[3]))

    def kill(self, pid: Any, signal: str = "TERM") -> int:
        """Send a signal to one process: the exit code of ``kill``."""
        number = str(pid)
        if not number.isdecimal() or int(number) == 0:
            raise FuncError("kill takes the number of one process, not 0.")
        return _run(["/bin/kill", "-s", _signal(signal), "--", number]).returncode

    def pkill(self, name: str, level: str = "") -> int:
        """Send a signal to all processes whose name matches: the exit code of ``pkill``."""
        if not isinstance(name, str) or not name:
            raise FuncError("pkill takes the name of a program.")
        words = [f"-{_signal(level.removeprefix('-'))}"] if level else []
        return _run(["pkill", *words, "--", name]).returncode


def _signal(name: object) -> str:
    text = str(name).upper()
    if not _SIGNAL.fullmatch(text):
        raise FuncError(f"{name} is no signal.")
    return text


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
    except OSError as error:
        raise FuncError(f"{argv[0]} can't be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise FuncError(f"{argv[0]} took longer than {_SECONDS} s") from error
