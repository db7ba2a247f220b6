"""Hosts with an OpenSSH server each; the crowd is one of them under many addresses."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from omserver_master.backends import Target
from tests.contract.rig import NotPossible, Rig
from tests.fleet.sshhosts import CROWDED, SshHosts

AS_OPS = ["setpriv", "--reuid", "ops", "--regid", "ops", "--clear-groups", "sh", "-c"]
#: Where a host keeps what runs and its answers.
PRIVATE = [f"{place}/omserver-root" for place in ("/tmp", "/dev/shm", "/run", "/var/tmp")]
#: What is not there yet is made, for everybody to write; under the handle, if one is known, stands a lie.
_PLANT = f"""
for place in {" ".join(PRIVATE)}; do
    mkdir "$place" 2>/dev/null && chmod 777 "$place"
    [ -n "$1" ] && [ -O "$place" ] && mkdir "$place/$1" || continue
    echo 'om1 0 0 1.0 2.0 plain 0 0 Rk9SR0VECg== - end' >"$place/$1/answer"
    : >"$place/$1/done"
done
:
"""
_REMOVE = f'for place in {" ".join(PRIVATE)}; do [ -O "$place" ] || rm -rf "$place"; done'


class SshRig(Rig):
    """The fixture ``sshhosts``; the last host has no Python."""

    kind = "ssh"
    #: A connection that was open, and then the call: 5 s and 10 s.
    patience = 16.0

    def start(self) -> None:
        self.shared_hosts: SshHosts = self.shared("sshhosts")
        self.settings = self.shared_hosts.connection_settings
        self.hosts = self.shared_hosts.targets("py-01", "py-02", "bare-01")

    def stop(self) -> None:
        """The hosts belong to all tests, and stop with them."""

    def who_is(self, host: Target) -> bytes:
        return CROWDED.encode() if host.name.startswith("crowd-") else host.name.encode()

    def many(self, number: int) -> list[Target]:
        return self.shared_hosts.crowd(number)

    def processes(self, host: Target) -> list[str]:
        return self.shared_hosts.processes(host.name)

    def read(self, host: Target, path: str) -> bytes | None:
        done = self.shared_hosts.exec(host.name, ["cat", "--", path])
        return done.stdout if done.returncode == 0 else None

    def stop_host(self, host: Target) -> None:
        self.shared_hosts.stop_host(host.name)

    def start_host(self, host: Target) -> None:
        self.shared_hosts.start_host(host.name)

    def stop_control(self) -> NoReturn:
        raise NotPossible("there is nothing between the worker and the hosts")

    def start_control(self) -> NoReturn:
        raise NotPossible("there is nothing between the worker and the hosts")

    @contextlib.contextmanager
    def lie(self, liar: Target, victim: Target) -> Iterator[Callable[[], int]]:
        """The liar learns the handle, and an ordinary user of the victim plants a forged answer under it."""
        lies: list[str] = []
        over = threading.Event()

        def conspire() -> None:
            while not over.wait(0.05):
                seen = self.shared_hosts.exec(liar.name, ["ls", *PRIVATE]).stdout.decode().split()
                for handle in {name for name in seen if len(name) == 32} - set(lies):
                    self.shared_hosts.exec(victim.name, [*AS_OPS, _PLANT, "sh", handle], check=True)
                    lies.append(handle)

        self.shared_hosts.exec(victim.name, [*AS_OPS, _PLANT, "sh", ""], check=True)
        conspiracy = threading.Thread(target=conspire, daemon=True)
        conspiracy.start()
        try:
            yield lambda: len(lies)
        finally:
            over.set()
            conspiracy.join(30)
            self.shared_hosts.exec(victim.name, ["sh", "-c", _REMOVE], check=True)
