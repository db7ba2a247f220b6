"""The demo's processes together: Salt, the master and the console; started, waited for, stopped."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from omserver_client import Client, NotReached, connect

from ..settings import Settings
from .children import Child, start
from .story import DemoFailed

#: Seconds: for a process to answer, for one to end politely, between two looks.
READY = 60.0
POLITE = 10.0
LOOK = 0.1

T = TypeVar("T")


class House:
    """The master and the console as child processes. At the end of the block nothing of them is left."""

    def __init__(self, settings: Settings, demo_key: Path) -> None:
        self._settings = settings
        self._demo_key = demo_key
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        for name in ("master", "web"):
            log = self._settings.home / "logs" / f"{name}.log"
            self._children.append(start(name, [sys.executable, "-m", "omserver_master", name], log))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for child in self._children:
                stack.callback(child.stop, POLITE)

    def master(self) -> Client:
        """A client of the master, waiting until it answers.

        Raises:
            DemoFailed: it ended, or did not answer in time.
        """
        where, port = self._settings.rpyc_host, self._settings.rpyc_port
        return self._wait(lambda: _tried(lambda: connect(where, port, self._demo_key)), "master")

    def wait_for_console(self) -> None:
        """Wait until the console answers.

        Raises:
            DemoFailed: it ended, or did not answer in time.
        """
        self._wait(lambda: _healthy(self._settings.web_host, self._settings.web_port) or None, "web")

    def check(self) -> None:
        """Make sure that all still run.

        Raises:
            DemoFailed: one has ended; its last words are in the text.
        """
        for child in self._children:
            if not child.alive:
                raise DemoFailed(f"{child.name} has ended. The end of {child.log}:\n{child.last_words()}")

    def _wait(self, ask: Callable[[], T | None], name: str) -> T:
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            self.check()
            answer = ask()
            if answer is not None:
                return answer
            time.sleep(LOOK)
        logs = self._settings.home / "logs"
        raise DemoFailed(f"{name} did not answer within {READY:.0f} s; its log in {logs} may say why.")


def _tried(ask: Callable[[], Client]) -> Client | None:
    try:
        return ask()
    except NotReached:
        return None


def _healthy(host: str, port: int) -> bool:
    line = http.client.HTTPConnection(host, port, timeout=5)
    try:
        line.request("GET", "/health")
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()
