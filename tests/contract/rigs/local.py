"""This machine, under several names."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from omserver_master.backends import Target
from tests.contract.rig import NotPossible, Rig


class LocalRig(Rig):
    """Nothing to start: the host is here."""

    kind = "local"
    survives_worker = False
    one_machine = True

    def start(self) -> None:
        self.settings = {}
        self.hosts = self.many(3)

    def stop(self) -> None:
        pass

    def who_is(self, host: Target) -> bytes:
        return socket.gethostname().encode()

    def many(self, number: int) -> list[Target]:
        return [Target(f"id-{n}", f"here-{n}", f"here-{n}") for n in range(number)]

    def processes(self, host: Target) -> list[str]:
        listing = subprocess.run(["ps", "axww", "-o", "args="], capture_output=True, timeout=30)
        return listing.stdout.decode("utf-8", "replace").splitlines()

    def read(self, host: Target, path: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return Path(path).read_bytes()
        return None

    def stop_host(self, host: Target) -> NoReturn:
        raise NotPossible("the only host is the machine that the tests run on")

    def start_host(self, host: Target) -> NoReturn:
        raise NotPossible("the only host is the machine that the tests run on")

    def stop_control(self) -> NoReturn:
        raise NotPossible("there is nothing between the worker and its own machine")

    def start_control(self) -> NoReturn:
        raise NotPossible("there is nothing between the worker and its own machine")

    def lie(self, liar: Target, victim: Target) -> contextlib.AbstractContextManager[Callable[[], int]]:
        raise NotPossible("all hosts are one machine: there is nobody else to speak for")
