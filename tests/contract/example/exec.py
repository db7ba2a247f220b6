"""Hosts in name spaces of their own, entered by ``nsenter``: as real as any container."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from omserver_master.backends import Target
from omserver_master.demo.keeper import children
from tests.contract.dispatching import wait_until
from tests.contract.rig import NotPossible, Rig
from tests.fleet.spaces import Spaces

NAMES = ("box-01", "box-02")


class ExecRig(Rig):
    """FOLDER/ways/NAME leads to a host's name spaces; while the host is off it leads nowhere."""

    kind = "exec"
    survives_worker = False
    patience = 5.0

    def start(self) -> None:
        self.spaces = Spaces()
        self._ways = self.spaces.folder / "ways"
        self._ways.mkdir()
        kinds = [f"--{option}={self._ways}/{{id}}/{name}" for option, name in
                 (("mount", "mnt"), ("uts", "uts"), ("net", "net"), ("pid", "pid"))]  # fmt: skip
        self.settings = {"words": ["nsenter", *kinds, "--"]}
        self.hosts = [Target(f"id-{name}", name, name) for name in NAMES]
        self._addresses = {name: f"{self.spaces.net}.{10 + n}" for n, name in enumerate(NAMES)}
        self.spaces.start(
            {
                name: self.spaces.host_command(name, "plain", address, ["sleep", "infinity"])
                for name, address in self._addresses.items()
            }
        )
        for name in NAMES:
            self._lead_to(name)

    def stop(self) -> None:
        self.spaces.stop()

    def who_is(self, host: Target) -> bytes:
        return host.remote_id.partition("-as-")[0].encode()

    def many(self, number: int) -> list[Target]:
        aliases = [f"{NAMES[n % len(NAMES)]}-as-{n}" for n in range(number)]
        for alias in aliases:
            with contextlib.suppress(FileExistsError):
                (self._ways / alias).symlink_to(alias.partition("-as-")[0])
        return [Target(f"id-{alias}", alias, alias) for alias in aliases]

    def processes(self, host: Target) -> list[str]:
        listing = self.spaces.exec(host.remote_id, ["ps", "axww", "-o", "args="], check=True)
        return listing.stdout.decode("utf-8", "replace").splitlines()

    def read(self, host: Target, path: str) -> bytes | None:
        done = self.spaces.exec(host.remote_id, ["cat", "--", path])
        return done.stdout if done.returncode == 0 else None

    def stop_host(self, host: Target) -> None:
        (self._ways / host.remote_id).unlink()
        self.spaces.stop_one(host.remote_id)

    def start_host(self, host: Target) -> None:
        self.spaces.start_one(host.remote_id)
        self._lead_to(host.remote_id)

    def stop_control(self) -> NoReturn:
        raise NotPossible("there is nothing between the worker and the hosts")

    def start_control(self) -> NoReturn:
        raise NotPossible("there is nothing between the worker and the hosts")

    @contextlib.contextmanager
    def lie(self, liar: Target, victim: Target) -> Iterator[Callable[[], int]]:
        """The liar writes a forged answer into all that it can see of the victim."""
        over = threading.Event()
        told: list[int] = []
        name = shlex.quote(victim.remote_id)
        forge = (
            'for one in /proc/[0-9]*; do [ "$(nsenter -t "${one#/proc/}" --uts hostname)" = '
            f'{name} ] && echo FORGED >"$one/fd/1"; done; echo FORGED {name}'
        )

        def forever() -> None:
            while not over.wait(0.2):
                self.spaces.exec(liar.remote_id, ["sh", "-c", forge])
                told.append(1)

        thread = threading.Thread(target=forever)
        thread.start()
        try:
            yield lambda: len(told)
        finally:
            over.set()
            thread.join(30)

    def _lead_to(self, name: str) -> None:
        self.spaces.wire(name, self._addresses[name])
        # What a host that comes up runs last of all; then everything is in its place. Before it has its name
        # it sees the processes of this machine.
        wait_until(lambda: children(self.spaces.pids[name]))
        look = ["sh", "-c", '[ "$(hostname)" = "$0" ] && pgrep -x -f "sleep infinity"', name]
        wait_until(lambda: self.spaces.exec(name, look).returncode == 0)
        (self._ways / name).symlink_to(f"/proc/{self.spaces.inside(name)}/ns")
