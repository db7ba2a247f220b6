"""A real OMServer over real hosts of every engine, and a look at each host past its engine.

The hosts are those of the contract tests: minions, hosts with sshd and func daemons in namespaces of their
own (root is needed), and this machine. A work that module 3021 does leaves its process id, a heartbeat and,
at its end, a mark in a folder of its host; `Witness` reads them there, and looks whether the process lives.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omserver_client import Client
from omserver_master.backends import Target, settings_of
from omserver_master.store import connections, hosts
from omserver_master.store.engine import begin
from tests.contract.rig import Rig, load_rig
from tests.fleet.fleet import SaltFleet
from tests.fleet.sshhosts import SshHosts
from tests.system import System

MODULES = Path(__file__).parent / "modules"
MODULE = "3021"
ENGINES = ("salt", "ansible", "ssh", "func", "local")
#: What module 3021 waits between two heartbeats, in seconds.
BEAT = 0.1


@dataclass(frozen=True)
class Host:
    """A real host: our name of it, and where its files and processes are seen from this machine."""

    name: str
    engine: str
    inside: Callable[[], int]
    """The first process of the host, by the number that this machine knows it by."""


class RealPlace:
    """All of it, from ``with`` to its end. *workers* are those of the master."""

    def __init__(self, engines: Sequence[str] = ENGINES, *, workers: int = 2) -> None:
        self.hosts: list[Host] = []
        #: Where the works leave their marks, on every host.
        self.marks = Path(f"/tmp/om-marks-{secrets.token_hex(6)}")
        self._stack = ExitStack()
        try:
            self._build(engines, workers)
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """End everything that was started here."""
        self._stack.close()

    def __enter__(self) -> RealPlace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def client(self) -> Client:
        """A new client of the admin's."""
        return self.system.client(timeout=30.0)

    def params(self, token: str, seconds: float) -> dict[str, Any]:
        """The parameters of a work that takes about *seconds*."""
        return {"folder": str(self.marks), "token": token, "beats": max(1, round(seconds / BEAT))}

    def witness(self, host: Host, token: str) -> Witness:
        """Who sees what a work really does on a host."""
        return Witness(host, self.marks, token)

    def _build(self, engines: Sequence[str], workers: int) -> None:
        shared = _Shared(self._stack)
        home = Path(tempfile.mkdtemp(prefix="omreal", dir="/tmp"))  # sockets want short paths
        self._stack.callback(shutil.rmtree, home, ignore_errors=True)
        self._stack.callback(shutil.rmtree, self.marks, ignore_errors=True)
        rigs = [load_rig(engine)(shared) for engine in engines]
        for rig in rigs:
            self._stack.callback(rig.stop)
            rig.start()
        self.system = System(home / "home", modules_dir=MODULES, workers=workers)
        self._stack.callback(self.system.close)
        for rig in rigs:
            self._add(rig)
        self.system.start()
        with self.client():
            pass

    def _add(self, rig: Rig) -> None:
        secret = {setting.name for setting in settings_of(rig.kind) if setting.secret}
        plain = {name: value for name, value in rig.settings.items() if name not in secret}
        way = self.system.add_connection(f"over-{rig.kind}", rig.kind, plain)
        with begin(self.system.engine) as conn:
            values = {name: value for name, value in rig.settings.items() if name in secret}
            connections.set_secrets(conn, self.system.site_key, way, values)
        # This machine is one host, whatever the number of its names.
        for host in rig.hosts[:1] if rig.one_machine else rig.hosts:
            name = f"{rig.kind}.{host.remote_id or host.name}"
            with begin(self.system.engine) as conn:
                host_id = hosts.add_host(conn, name, lip=host.address, os="Debian")
                hosts.set_facts(conn, host_id, {"os_family": "debian"}, "Debian 12")
                connections.link_host(conn, host_id, way, host.remote_id)
            self.hosts.append(Host(name, rig.kind, _inside(rig, host)))


class Witness:
    """What one work really does on its host. Moments are unix seconds, by the clock that all hosts share."""

    def __init__(self, host: Host, marks: Path, token: str) -> None:
        self._host, self._marks, self._token = host, marks, token
        self._process: tuple[int, str] | None = None

    @property
    def began(self) -> float | None:
        """When it began; None: not so far."""
        return self._when("pid")

    @property
    def finished(self) -> float | None:
        """When it came to its own end; None: it did not."""
        return self._when("done")

    @property
    def last_beat(self) -> float | None:
        """When it was alive for the last time, up to a beat."""
        return self._when("beat")

    def lives(self) -> bool:
        """Whether its process is there now."""
        if self._process is None:
            found = self._find()
            self._process = (found, _start_of(found)) if found is not None else None
        return self._process is not None and _start_of(self._process[0]) == self._process[1] != ""

    def _find(self) -> int | None:
        """Our number of the process that wrote its own one down; None if it is gone."""
        with contextlib.suppress(OSError, ValueError):
            inside = self._host.inside()
            number = int(self._mark("pid", inside).read_text())
            space = Path(f"/proc/{inside}/ns/pid").readlink()
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and _number_within(entry, space) == number:
                    return int(entry.name)
        return None

    def _when(self, what: str) -> float | None:
        with contextlib.suppress(OSError):
            return self._mark(what, self._host.inside()).stat().st_mtime
        return None

    def _mark(self, what: str, inside: int) -> Path:
        return Path(f"/proc/{inside}/root{self._marks}/{self._token}.{what}")


class _Shared:
    """Gives rigs the fixtures that they ask for by name, and ends them with the place."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._made: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        if name not in self._made:
            made = {"fleet": SaltFleet, "sshhosts": SshHosts}[name]()
            self._stack.callback(made.stop)
            made.start()
            self._made[name] = made
        return self._made[name]


def _inside(rig: Any, host: Target) -> Callable[[], int]:
    if rig.one_machine:
        return os.getpid
    if rig.kind == "func":
        return lambda: rig.first_process(host)  # type: ignore[no-any-return]
    spaces = rig.fleet.spaces if rig.kind.startswith("salt") else rig.shared("sshhosts").spaces
    return lambda: spaces.inside(host.remote_id)  # type: ignore[no-any-return]


def _number_within(process: Path, space: Path) -> int | None:
    """The number of a process (its folder in /proc) inside the *space* of numbers that it lives in."""
    with contextlib.suppress(OSError, StopIteration):
        if (process / "ns/pid").readlink() == space:
            lines = (process / "status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])
    return None


def _start_of(pid: int) -> str:
    """What tells the process *pid* from a later one of that number; ``""`` if it does not live."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if words[0] in ("Z", "X") else words[19]


def wait_until(true: Callable[[], object], seconds: float) -> bool:
    """Wait until *true* is, for *seconds* at most; whether it came to be."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
