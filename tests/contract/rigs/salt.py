"""The fleet of real minions that all tests share, through the Salt master on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from omserver_master.backends import Target
from tests.contract.rig import Rig
from tests.fleet.fleet import SaltFleet

from .salt_liar import lying


class SaltRig(Rig):
    """A Salt master and three minions, each a host of its own."""

    kind = "salt"

    def start(self) -> None:
        self.fleet: SaltFleet = self.shared("fleet")
        self.settings = self.fleet.connection_settings
        self.hosts = self.fleet.targets()

    def stop(self) -> None:
        """The fleet belongs to all tests, and stops with them; its crowd was for these."""
        if hasattr(self, "fleet"):
            self.fleet.end_crowd()

    def many(self, number: int) -> Sequence[Target]:
        return self.fleet.crowd(number)

    def processes(self, host: Target) -> list[str]:
        listing = self.fleet.exec(host.remote_id, ["ps", "axww", "-o", "args="], check=True)
        return listing.stdout.decode("utf-8", "replace").splitlines()

    def read(self, host: Target, path: str) -> bytes | None:
        done = self.fleet.exec(host.remote_id, ["cat", "--", path])
        return done.stdout if done.returncode == 0 else None

    def stop_host(self, host: Target) -> None:
        self.fleet.stop_minion(host.remote_id)

    def start_host(self, host: Target) -> None:
        self.fleet.start_minion(host.remote_id)

    def stop_control(self) -> None:
        self.fleet.stop_master()

    def start_control(self) -> None:
        self.fleet.start_master()

    @contextlib.contextmanager
    def lie(self, liar: Target, victim: Target) -> Iterator[Callable[[], int]]:
        with lying(self.fleet, liar.remote_id, victim.remote_id) as told:
            yield told
