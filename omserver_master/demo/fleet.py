"""A real Salt master and a few real minions on this machine, as plain processes of the user who starts them.

    with Fleet(home) as fleet:
        fleet.connection_settings, fleet.hosts

They live under ``HOME/demo/salt``, listen on loopback only, on ports that are free, know each other's keys
from the start, and end with the process that started them, however that ends. All minions share this
machine's files: what a module changes on one of them is changed on all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from ..backends.base import ConnectionDown
from ..backends.salt.backend import SaltBackend
from .kept import Kept
from .saltsite import free_ports, introduce, write_master, write_minion
from .site import SiteFailed, SiteHost

#: The minions' names, where nothing else is said.
NAMES = ("web-01", "db-01", "app-01")
#: Seconds that the minions get to answer for the first time.
START_TIMEOUT = 60.0


class FleetError(SiteFailed):
    """The Salt master or a minion could not be started."""


def _silent(line: str) -> None:
    """Tell nobody."""


class Fleet:
    """One Salt master and its minions. *say* gets a line for people at each step of the start."""

    kind = "salt"

    def __init__(
        self, home: Path, names: Sequence[str] = NAMES, say: Callable[[str], None] = _silent
    ) -> None:
        self.names = tuple(names)
        self.root = home.absolute() / "demo" / "salt"
        self.logs = home.absolute() / "logs"
        #: What each minion says of itself; filled by `start`.
        self.hosts: list[SiteHost] = []
        self._say = say
        self._kept: Kept | None = None

    @property
    def connection_settings(self) -> dict[str, str]:
        """The settings of a connection of kind ``salt`` to this master."""
        return {"config_dir": str(self.root / "master")}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start all, and return when every minion has answered.

        Raises:
            FleetError: a process ended at once, or somebody did not answer within *timeout* seconds.
        """
        began = time.monotonic()
        try:
            self._start_processes()
            self._await_minions(began + timeout)
        except BaseException:
            self.stop()
            raise
        self._say(f"All {len(self.names)} Salt minions answer, after {time.monotonic() - began:.0f} s.")

    def stop(self) -> None:
        """Leave no process behind. Takes about a tenth of a second, 10 s at most."""
        if self._kept is not None:
            self._kept.stop()
            self._kept = None

    def _start_processes(self) -> None:
        for folder in (self.root, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._say("Making keys for the Salt master and its minions.")
        introduce(self.root, self.names)
        self._kept = Kept()
        sockets, ports = self._kept.folder, free_ports(2)
        commands = {"master": _command("master", write_master(self.root, sockets, self.logs, ports))}
        for name in self.names:
            # By a path without a space: the host finds its minion's key by the words of this command line.
            short = sockets / f"{name}.d"
            short.symlink_to(write_minion(self.root, name, sockets, self.logs, ports))
            commands[name] = _command("minion", short)
        self._say(f"Starting a Salt master and {len(self.names)} minions.")
        self._kept.start(commands, self.logs, "salt")

    def _await_minions(self, deadline: float) -> None:
        backend = SaltBackend("demo", self.connection_settings)
        grains: dict[str, dict[str, Any]] = {}
        try:
            while missing := [name for name in self.names if name not in grains]:
                self._check(missing, deadline)
                found = self._ask(backend, missing)
                for name in found:
                    self._say(f"Salt minion {name} answers.")
                grains |= found
        finally:
            backend.close()
        self.hosts = [_host(name, grains[name]) for name in self.names]

    def _check(self, missing: Sequence[str], deadline: float) -> None:
        if self._kept is not None and self._kept.ended:
            raise FleetError(
                f"The Salt process {self._kept.ended[0]} ended at once; see the logs in {self.logs}."
            )
        if time.monotonic() > deadline:
            raise FleetError(f"No answer from {', '.join(missing)}; see the logs in {self.logs}.")

    def _ask(self, backend: SaltBackend, missing: Sequence[str]) -> dict[str, dict[str, Any]]:
        try:
            return backend.grains(missing, seconds=1.0)
        except ConnectionDown:
            time.sleep(0.2)
            return {}


def _command(kind: str, config_dir: Path) -> list[str]:
    start = f"from salt.scripts import salt_{kind}; salt_{kind}()"
    return [sys.executable, "-P", "-c", start, "-c", str(config_dir), "--disable-keepalive"]


def _host(name: str, grains: dict[str, Any]) -> SiteHost:
    addresses = [str(one) for one in grains.get("ipv4", [])]
    outside = [one for one in addresses if not one.startswith("127.")]
    system = f"{grains.get('os', '')} {grains.get('osrelease', '')}".strip()
    ip = (outside or addresses or ["127.0.0.1"])[0]
    family, release = (str(grains.get(fact, "")) for fact in ("os_family", "osrelease"))
    return SiteHost(name, name, ip, system, family, release)
