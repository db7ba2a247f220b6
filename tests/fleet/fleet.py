"""A Salt master and minions, each minion a host of its own: files, network, processes, host name.

The Salt master runs on the machine of the tests; see `Spaces` for the hosts.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from omserver_master.backends import ConnectionDown, Target, make_backend
from omserver_master.backends.salt.backend import SaltBackend
from omserver_master.demo.saltsite import free_ports, introduce, write_master, write_minion

from . import spaces
from .crowd import Crowd
from .saltapi import add_api
from .spaces import CHECKOUT as CHECKOUT
from .spaces import Spaces

#: The hosts of a fleet: two with nginx and a syslog file, and one with no log, no nginx, no service manager.
KINDS = {"web-01": "full", "web-02": "full", "bare-01": "bare"}
_START = "from salt.scripts import salt_{0}; salt_{0}()"


def why_not() -> str:
    """Why no fleet can be made on this machine; ``""`` if one can."""
    return spaces.why_not("nginx", "service")


class SaltFleet:
    """See the top of the file. ``minions`` are the names; ``addresses`` maps them to their own addresses."""

    def __init__(self, kinds: dict[str, str] | None = None) -> None:
        self.kinds = dict(kinds or KINDS)
        self.minions = tuple(self.kinds)
        self.spaces = Spaces()
        self.folder = self.spaces.folder
        self.net = self.spaces.net
        self.addresses = {name: f"{self.net}.{10 + number}" for number, name in enumerate(self.minions)}
        self.ports = free_ports(2)
        #: Where the Salt master's states are.
        self.states = self.folder / "states"
        #: The settings of a connection of kind ``salt-api``.
        self.api_settings: dict[str, str] = {}
        self._crowd: Crowd | None = None

    @property
    def connection_settings(self) -> dict[str, str]:
        """The settings of a connection of kind ``salt``."""
        return {"config_dir": str(self.folder / "salt" / "master")}

    def targets(self, *names: str) -> list[Target]:
        """The minions (all, if none is named) as a backend wants them; a host's id is its name."""
        return [Target(name, name, name, self.addresses.get(name, "")) for name in names or self.minions]

    def crowd(self, number: int = 50) -> list[Target]:
        """Many more minions of the same master, forked from one process; started when first asked for.

        All are up when this returns. Their host names are their ids; all else they share with this machine.
        They keep it busy even when there is nothing to do: see `end_crowd`.
        """
        if self._crowd is None:
            pki = self.folder / "salt" / "master" / "pki"
            self._crowd = Crowd(number, pki, f"{self.net}.1", self.ports, self.spaces.logs)
            self._crowd.start()
        self.wait_for(self._crowd.names[:number], 110)
        return self._crowd.targets[:number]

    def end_crowd(self) -> None:
        """End the many; they are started anew when they are asked for again."""
        if self._crowd is not None:
            self._crowd.stop()
            self._crowd = None

    def start(self) -> None:
        """Start everything; every minion has answered when this returns."""
        logs = self.spaces.logs
        root = self.folder / "salt"
        introduce(root, self.minions)
        sockets = self.folder / "s"
        master = write_master(root, sockets, logs, self.ports, interface=f"{self.net}.1")
        shutil.copytree(Path(__file__).with_name("states"), self.states)
        _change(master / "master", {"file_roots": {"base": [str(self.states)]}})
        self.api_settings = add_api(master, self.folder / "salt" / "api")
        commands = {"master": self._master_command(master), "api": _salt("api", master)}
        for name in self.minions:
            config = write_minion(root, name, sockets, logs, self.ports, master=f"{self.net}.1")
            commands[name] = self.spaces.host_command(
                name, self.kinds[name], self.addresses[name], _salt("minion", config)
            )
        self.spaces.start(commands)
        for name in self.minions:
            self.spaces.wire(name, self.addresses[name])
        self.wait_for(self.minions)
        self.wait_for_api()

    def stop(self) -> None:
        """Leave no process, no network card and no file behind."""
        self.end_crowd()
        self.spaces.stop()

    def stop_minion(self, name: str) -> None:
        """Kill a minion and its whole host."""
        self.spaces.stop_one(name)

    def start_minion(self, name: str) -> None:
        """Start a minion's host anew, with fresh files, and wait for its answer."""
        self.spaces.start_one(name)
        self.spaces.wire(name, self.addresses[name])
        self.wait_for([name])

    def stop_master(self) -> None:
        """Kill the Salt master."""
        self.spaces.stop_one("master")

    def start_master(self) -> None:
        """Start the Salt master again, and wait until all minions that run have found it."""
        self.spaces.start_one("master")
        self.wait_for([name for name in self.minions if name in self.spaces.pids])

    def stop_api(self) -> None:
        """Kill salt-api; the Salt master goes on."""
        self.spaces.stop_one("api")

    def start_api(self) -> None:
        """Start salt-api again, and wait until it works."""
        self.spaces.start_one("api")
        self.wait_for_api()

    def exec(self, name: str, argv: Sequence[str], check: bool = False) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside a minion's host, past Salt: to look what is really there."""
        return self.spaces.exec(name, argv, check)

    def wait_for(self, names: Sequence[str], seconds: float = 60) -> None:
        """Wait until these minions answer."""
        backend = SaltBackend("fleet", self.connection_settings)
        deadline = time.monotonic() + seconds
        missing = set(names)
        try:
            while missing:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no answer from {sorted(missing)}: {self.spaces.last_words()}")
                try:
                    # Many at once need a while each time: to ask again too early only makes them slower.
                    missing -= backend.ping(sorted(missing), seconds=max(1.0, len(missing) / 4))
                except ConnectionDown:
                    time.sleep(0.2)
        finally:
            backend.close()

    def wait_for_api(self, seconds: float = 60) -> None:
        """Wait until salt-api can be used."""
        backend = make_backend("salt-api", "fleet", self.api_settings)
        deadline = time.monotonic() + seconds
        try:
            while not (reachability := backend.probe()).up:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{reachability.reason} {self.spaces.last_words()}")
                time.sleep(0.2)
        finally:
            backend.close()

    def _master_command(self, config: Path) -> list[str]:
        wait = f'until ip -o addr | grep -q "{self.net}.1/"; do sleep 0.05; done; exec "$@"'
        return ["sh", "-c", wait, "sh", *_salt("master", config)]


def _change(config: Path, options: dict[str, object]) -> None:
    """Set *options* in a file of configuration."""
    config.write_text(json.dumps(json.loads(config.read_text()) | options, indent=1))


def _salt(kind: str, config: Path) -> list[str]:
    return [sys.executable, "-P", "-c", _START.format(kind), "-c", str(config), "--disable-keepalive"]
