"""Start and stop services: by systemd where it runs, else by ``service``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ..errors import FuncError
from ..module import FuncModule

_NAME = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_.@:+-]*")
_LINE = re.compile(r"\s*\[ ([-+?]) \]\s+(\S+)")
_STATES = {"+": "running", "-": "stopped", "?": "dead"}
#: Seconds for which a service may take to start.
_LONGEST = 600


class Service(FuncModule):
    """See the top of the file. Answers are exit codes."""

    version = "0.0.1"
    api_version = "0.0.1"
    description = "Allows for service control via func."

    def start(self, name: str) -> int:
        """Start it."""
        return _order(name, "start")

    def stop(self, name: str) -> int:
        """Stop it."""
        return _order(name, "stop")

    def restart(self, name: str) -> int:
        """Stop and start it."""
        return _order(name, "restart")

    def reload(self, name: str) -> int:
        """Let it read its settings again."""
        return _order(name, "reload")

    def status(self, name: str) -> int:
        """0 if it runs."""
        return _order(name, "status")

    def get_running(self) -> list[list[str]]:
        """[name, "running" or "dead" or "stopped", the line that says so] of every service."""
        if _has_systemd():
            return _units()
        lines = _run(["service", "--status-all"]).stdout.splitlines()
        found = [(line, _LINE.match(line)) for line in lines]
        return [[match[2], _STATES[match[1]], line.strip()] for line, match in found if match]

    def inventory(self) -> dict[str, list[list[str]]]:
        """What runs."""
        return {"running": self.get_running()}


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_LONGEST
        )
    except OSError as error:
        raise FuncError(f"{argv[0]} can't be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise FuncError(f"{' '.join(argv)} took longer than {_LONGEST} s") from error


def _order(name: str, verb: str) -> int:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FuncError(f"Service not installed: {name}")
    if _has_systemd():
        if _run(["systemctl", "cat", "--", name]).returncode != 0:
            raise FuncError(f"Service not installed: {name}")
        return _run(["systemctl", verb, "--", name]).returncode
    if not Path("/etc/init.d", name).exists():
        raise FuncError(f"Service not installed: {name}")
    return _run(["service", name, verb]).returncode


def _units() -> list[list[str]]:
    listing = ["systemctl", "list-units", "--type=service", "--all", "--plain", "--no-legend", "--no-pager"]
    rows = [(line, line.split(None, 4)) for line in _run(listing).stdout.splitlines()]
    return [
        [words[0].removesuffix(".service"), "running" if words[3] == "running" else "dead", line.strip()]
        for line, words in rows
        if len(words) >= 4
    ]
