"""Invented hosts. What passes here says something about our own template, and nothing about a real engine."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omserver_master.backends import Target
from omserver_master.backends.sim.shell import file_of
from tests.contract.rig import NotPossible, Rig

CHECKOUT = Path(__file__).resolve().parents[3]


class SimRig(Rig):
    """One process of invented hosts, which obey echo, sleep and exit."""

    kind = "sim"
    patience = 3.0

    def start(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="om-sim-"))
        self._socket = self._folder / "socket"
        self.settings = {"socket": str(self._socket)}
        self.hosts = self.many(3)
        self.start_control()

    def stop(self) -> None:
        if self._process is not None:
            self.stop_control()
        shutil.rmtree(self._folder, ignore_errors=True)

    def many(self, number: int) -> list[Target]:
        return [Target(f"id-{n}", f"invented-{n}", f"invented-{n}") for n in range(number)]

    def processes(self, host: Target) -> list[str]:
        commands: list[str] = self._order({"do": "look", "host": host.remote_id})["processes"]
        return commands

    def read(self, host: Target, path: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return file_of(self._folder / "files", host.remote_id, path).read_bytes()
        return None

    def stop_host(self, host: Target) -> None:
        self._order({"do": "power", "host": host.remote_id, "on": False})

    def start_host(self, host: Target) -> None:
        self._order({"do": "power", "host": host.remote_id, "on": True})

    def stop_control(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._process = None
        self._socket.unlink(missing_ok=True)

    def start_control(self) -> None:
        rules = json.dumps({"*": {"ending": "obeys"}})
        files = [self._socket, rules, self._folder / "ledger", self._folder / "files"]
        command = [sys.executable, "-m", "omserver_master.backends.sim.fleet", *map(str, files)]
        self._process = subprocess.Popen(command, cwd=CHECKOUT)
        deadline = time.monotonic() + 30
        while not self._socket.exists():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def lie(self, liar: Target, victim: Target) -> contextlib.AbstractContextManager[Callable[[], int]]:
        raise NotPossible("one process plays all hosts, and speaks for each of them")

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(str(self._socket))
            line.sendall(json.dumps(order).encode() + b"\n")
            with line.makefile("r") as replies:
                reply: dict[str, Any] = json.loads(replies.readline())
                return reply
