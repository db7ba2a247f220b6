"""Hosts that are reached by ssh, for the tests of all engines that use it.

    the tests -- py-01, py-02 (Python 3), bare-01 (no Python), jump-01 -- inner-01 (a segment of its own)

Each is a host of its own (see `Spaces`) with an OpenSSH server on port 22 and a host key. Users: ``root`` (by
key) and ``ops`` (by key or `PASSWORD`; sudo asks for no password).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from omserver_master.backends.base import Target

from . import spaces
from .spaces import Spaces, free_net

KINDS = {
    "py-01": "plain",
    "py-02": "plain",
    "bare-01": "no-python",
    "jump-01": "plain",
    "inner-01": "no-python",
}
#: The hosts that can be reached without the jump host, in the order of their addresses.
OUTER = tuple(name for name in KINDS if name != "inner-01")
#: The password of ``ops``.
PASSWORD = "open sesame"
#: The host that answers for all addresses of `SshHosts.crowd`.
CROWDED = "bare-01"
_SSHD = Path(__file__).with_name("sshd.sh")
_SEGMENT = "br1"


def why_not() -> str:
    """Why no such hosts can be made on this machine; ``""`` if they can."""
    return spaces.why_not("sshd", "ssh-keygen", "openssl", "sudo")


class SshHosts:
    """See the top of the file.

    ``key`` is the file of the users' private key, ``known_hosts`` holds every address with its host key.
    ``addresses`` are by name; that of ``inner-01`` is of use on ``jump-01`` only.
    """

    user = "root"
    port = 22

    def __init__(self) -> None:
        self.spaces = Spaces()
        self.folder = self.spaces.folder
        self.net = self.spaces.net
        self.addresses = {name: f"{self.net}.{10 + number}" for number, name in enumerate(OUTER)}
        self._segment = free_net(first=100)
        self.addresses["inner-01"] = f"{self._segment}.10"
        self._crowd_net = free_net(first=150, step=4)
        self.key = self.folder / "key"
        self.ca = self.folder / "ca"
        self.known_hosts = self.folder / "known_hosts"

    @property
    def connection_settings(self) -> dict[str, str]:
        """The settings of a connection of kind ``ssh`` to the outer hosts."""
        return {"user": self.user, "private_key": str(self.key), "known_hosts": str(self.known_hosts)}

    @property
    def jump(self) -> str:
        """The jump host, as ``ssh -J`` wants it."""
        return f"{self.user}@{self.addresses['jump-01']}:{self.port}"

    def targets(self, *names: str) -> list[Target]:
        """These hosts (the outer ones, if none is named) as a backend wants them; a host's id is its name."""
        return [Target(name, name, name, self.addresses[name]) for name in names or OUTER]

    def crowd(self, number: int) -> list[Target]:
        """That many hosts (1,000 at most), each with an address of its own; all are one: `CROWDED`."""
        assert number <= 1000
        return [
            Target(f"crowd-{n:04}", f"crowd-{n:04}", f"crowd-{n:04}", address)
            for n, address in enumerate(self._crowd_addresses()[:number])
        ]

    def start(self) -> None:
        """Start everything; every sshd listens when this returns."""
        self._make_keys()
        # The checkout is hidden from a host without Python.
        server = shutil.copy(_SSHD, self.folder)
        self.spaces.start(
            {
                name: self.spaces.host_command(
                    name, kind, self.addresses[name], ["sh", str(server), str(self.folder), name]
                )
                for name, kind in KINDS.items()
            }
        )
        self.spaces.add_bridge(_SEGMENT)
        self.spaces.lead_nowhere(f"{self._segment}.0/24")
        for name in KINDS:
            self._wire(name)
        for name in KINDS:
            self._wait_for(name)

    def stop(self) -> None:
        """Leave no process, no network card and no file behind."""
        self.spaces.stop()

    def stop_host(self, name: str) -> None:
        """Cut a host off as a power failure does: nobody on the network hears of it."""
        self.spaces.stop_one(name)

    def start_host(self, name: str) -> None:
        """Start a host anew with fresh files, the same address and host key, and wait until it listens."""
        self.spaces.start_one(name)
        self._wire(name)
        self._wait_for(name)

    def exec(
        self, name: str, argv: Sequence[str], check: bool = False, seconds: float = 30
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside a host, past ssh: to look what is really there."""
        return self.spaces.exec(name, argv, check, seconds)

    def processes(self, name: str) -> list[str]:
        """The command lines of all that runs on a host, but for the look itself."""
        listing = self.exec(name, ["ps", "axww", "-o", "args="], check=True).stdout
        lines = listing.decode("utf-8", "replace").splitlines()
        return [line for line in lines if line != "ps axww -o args="]

    def host_key(self, name: str) -> str:
        """The public host key of a host, ``ssh-ed25519 AAAA...``."""
        return " ".join((self.folder / "hosts" / f"{name}.pub").read_text().split()[:2])

    def new_key(self, path: Path, *options: str) -> Path:
        """A new private key at *path* (and ``.pub`` beside it), which no host knows."""
        words = [] if "-N" in options else ["-N", ""]
        _run("ssh-keygen", "-q", "-t", "ed25519", "-C", "", "-f", str(path), *words, *options)
        return path

    def _make_keys(self) -> None:
        hosts = self.folder / "hosts"
        hosts.mkdir()
        self.new_key(self.key)
        self.new_key(self.ca)
        for name in KINDS:
            self.new_key(hosts / name)
        (self.folder / "shadow").write_text(_run("openssl", "passwd", "-6", PASSWORD).strip())
        lines = [f"{address} {self.host_key(name)}" for name, address in self.addresses.items()]
        crowded = self.host_key(CROWDED)
        lines += [f"{address} {crowded}" for address in self._crowd_addresses()]
        self.known_hosts.write_text("\n".join(lines) + "\n")

    def _crowd_addresses(self) -> list[str]:
        first, second, third = self._crowd_net.split(".")
        return [f"{first}.{second}.{int(third) + n // 250}.{1 + n % 250}" for n in range(1000)]

    def _wire(self, name: str) -> None:
        if name == "inner-01":
            self.spaces.wire(name, self.addresses[name], bridge=_SEGMENT)
            return
        self.spaces.wire(name, self.addresses[name])
        if name == "jump-01":
            self.spaces.wire(name, f"{self._segment}.9", card="eth1", bridge=_SEGMENT)
        if name == CROWDED:
            self.spaces.answer_for(name, self.addresses[name], f"{self._crowd_net}.0/22")

    def _wait_for(self, name: str, seconds: float = 30) -> None:
        """Wait until a host's sshd listens, and then until it answers where we can reach it."""
        deadline = time.monotonic() + seconds
        while not self._listens(name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no sshd on {name}: {self.spaces.last_words()}")
            time.sleep(0.05)

    def _listens(self, name: str) -> bool:
        if name == "inner-01":
            listening = self.exec(name, ["ss", "-Hltn"]).stdout.decode()
            return f":{self.port} " in listening
        try:
            with socket.create_connection((self.addresses[name], self.port), 2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout
