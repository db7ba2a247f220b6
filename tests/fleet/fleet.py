"""A Salt master and minions, each minion a host of its own: files, network, processes, host name.

    the tests, the Salt master -- veth -- [switch namespace: bridge] -- veth -- [a minion's namespaces]

All that it makes hangs on processes of one keeper, which ends with the tests, however they end; with the last
process of a namespace its network cards are gone.
"""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from omserver_master.backends.base import ConnectionDown, Target
from omserver_master.backends.salt import SaltBackend
from omserver_master.demo import keeper
from omserver_master.demo.fleet import short_folder
from omserver_master.demo.saltsite import free_ports, introduce, write_master, write_minion

#: The hosts of a fleet: two with nginx and a syslog file, and one with no log, no nginx, no service manager.
KINDS = {"web-01": "full", "web-02": "full", "bare-01": "bare"}
CHECKOUT = Path(__file__).resolve().parents[2]
_MINION = Path(__file__).with_name("minion.sh")
_START = "from salt.scripts import salt_{0}; salt_{0}()"


def why_not() -> str:
    """Why no fleet can be made on this machine; ``""`` if one can."""
    if os.geteuid() != 0:
        return "a fleet of minions needs root, for namespaces"
    missing = [
        tool for tool in ("ip", "unshare", "nsenter", "nginx", "service") if shutil.which(tool) is None
    ]
    if missing:
        return f"a fleet of minions needs {', '.join(missing)}"
    probe = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True)
    return "" if probe.returncode == 0 else "this machine allows no namespaces"


class SaltFleet:
    """See the top of the file. ``minions`` are the names; ``addresses`` maps them to their own addresses."""

    def __init__(self, kinds: dict[str, str] | None = None) -> None:
        self.kinds = dict(kinds or KINDS)
        self.minions = tuple(self.kinds)
        self.folder = short_folder()
        self.net = _free_net()
        self.tag = f"om{os.getpid() % 100000:x}{random.randrange(4096):03x}"
        self.addresses = {name: f"{self.net}.{10 + number}" for number, name in enumerate(self.minions)}
        self.ports = free_ports(2)
        self._pids: dict[str, int] = {}
        self._news: queue.Queue[str] = queue.Queue()
        self._keeper: subprocess.Popen[str] | None = None

    @property
    def connection_settings(self) -> dict[str, str]:
        """The settings of a connection of kind ``salt``."""
        return {"config_dir": str(self.folder / "salt" / "master")}

    def targets(self, *names: str) -> list[Target]:
        """The minions (all, if none is named) as a backend wants them; a host's id is its name."""
        return [Target(name, name, name, self.addresses.get(name, "")) for name in names or self.minions]

    def start(self) -> None:
        """Start everything; every minion has answered when this returns."""
        logs = self.folder / "logs"
        logs.mkdir()
        root = self.folder / "salt"
        introduce(root, self.minions)
        sockets = self.folder / "s"
        master = write_master(root, sockets, logs, self.ports, interface=f"{self.net}.1")
        commands = {"switch": self._switch_command(), "master": self._master_command(master)}
        for name in self.minions:
            config = write_minion(root, name, sockets, logs, self.ports, master=f"{self.net}.1")
            commands[name] = self._minion_command(name, config)
        wire = {name: {"argv": argv, "log": str(logs / f"{name}.out")} for name, argv in commands.items()}
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, json.dumps(wire), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._hear, args=(self._keeper,), daemon=True).start()
        for name in commands:
            self._pids[name] = self._wait_started(name)
        self._wire_switch()
        for name in self.minions:
            self._wire_minion(name)
        self.wait_for(self.minions)

    def stop(self) -> None:
        """Leave no process, no network card and no file behind."""
        if self._keeper is not None:
            self._keeper.stdin.close()
            self._keeper.wait(15)
            self._keeper = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop_minion(self, name: str) -> None:
        """Kill a minion and its whole host."""
        self._order("stop", name)

    def start_minion(self, name: str) -> None:
        """Start a minion's host anew, with fresh files, and wait for its answer."""
        self._order("start", name)
        self._wire_minion(name)
        self.wait_for([name])

    def stop_master(self) -> None:
        """Kill the Salt master."""
        self._order("stop", "master")

    def start_master(self) -> None:
        """Start the Salt master again, and wait until all minions that run have found it."""
        self._order("start", "master")
        self.wait_for([name for name in self.minions if name in self._pids])

    def exec(self, name: str, argv: Sequence[str], check: bool = False) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside a minion's host, past Salt: to look what is really there."""
        enter = ["nsenter", "--target", str(self._inside(name)), "--mount", "--net", "--pid", "--uts"]
        return subprocess.run([*enter, *argv], capture_output=True, timeout=30, check=check)

    def wait_for(self, names: Sequence[str], seconds: float = 60) -> None:
        """Wait until these minions answer."""
        backend = SaltBackend("fleet", self.connection_settings)
        deadline = time.monotonic() + seconds
        missing = set(names)
        try:
            while missing:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no answer from {sorted(missing)}: {self._last_words()}")
                try:
                    missing -= backend.ping(sorted(missing), seconds=1.0)
                except ConnectionDown:
                    time.sleep(0.2)
        finally:
            backend.close()

    def _switch_command(self) -> list[str]:
        return ["unshare", "--net", "--kill-child", "--fork", "sleep", "infinity"]

    def _master_command(self, config: Path) -> list[str]:
        wait = f'until ip -o addr | grep -q "{self.net}.1/"; do sleep 0.05; done; exec "$@"'
        return ["sh", "-c", wait, "sh", *_salt("master", config)]

    def _minion_command(self, name: str, config: Path) -> list[str]:
        spaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        keep = " ".join(sorted({str(CHECKOUT), sys.prefix, sys.base_prefix}))
        own = ["sh", str(_MINION), name, self.kinds[name], self.addresses[name], str(self.folder), keep]
        return ["unshare", *spaces, *own, *_salt("minion", config)]

    def _wire_switch(self) -> None:
        pid = _in_own_net(self._pids["switch"])
        _ip("link", "add", self.tag, "type", "veth", "peer", "name", "machine", "netns", str(pid))
        _ip("addr", "add", f"{self.net}.1/24", "dev", self.tag)
        _ip("link", "set", self.tag, "up")
        _ip("link", "add", "br0", "type", "bridge", inside=pid)
        _ip("link", "set", "br0", "up", inside=pid)
        self._plug(pid, "machine")

    def _wire_minion(self, name: str) -> None:
        pid, switch = _in_own_net(self._pids[name]), self._pids["switch"]
        card = f"c{pid}"
        peer = ["peer", "name", "eth0", "netns", str(pid)]
        _ip("link", "add", card, "type", "veth", *peer, inside=switch)
        self._plug(switch, card)
        _ip("link", "set", "lo", "up", inside=pid)
        _ip("link", "set", "eth0", "up", inside=pid)
        _ip("addr", "add", f"{self.addresses[name]}/24", "dev", "eth0", inside=pid)

    def _plug(self, switch: int, card: str) -> None:
        _ip("link", "set", card, "master", "br0", inside=switch)
        _ip("link", "set", card, "up", inside=switch)

    def _inside(self, name: str) -> int:
        """The first process in a minion's process name space."""
        return keeper.children(self._pids[name])[0]

    def _order(self, order: str, name: str) -> None:
        self._keeper.stdin.write(f"{order} {name}\n")
        self._keeper.stdin.flush()
        if order == "start":
            self._pids[name] = self._wait_started(name)
        else:
            self._wait_news(f"stopped {name}")
            self._pids.pop(name, None)

    def _hear(self, process: subprocess.Popen[str]) -> None:
        with process.stdout as lines:
            for line in lines:
                self._news.put(line.strip())

    def _wait_news(self, beginning: str) -> str:
        while True:
            line = self._news.get(timeout=15)
            if line.startswith(beginning):
                return line

    def _wait_started(self, name: str) -> int:
        return int(self._wait_news(f"started {name} ").split()[2])

    def _last_words(self) -> str:
        logs = sorted((self.folder / "logs").iterdir())
        return "\n".join(f"{log.name}: {log.read_text()[-500:]}" for log in logs)


def _salt(kind: str, config: Path) -> list[str]:
    return [sys.executable, "-P", "-c", _START.format(kind), "-c", str(config), "--disable-keepalive"]


def _ip(*words: str, inside: int | None = None) -> None:
    enter = ["nsenter", "--target", str(inside), "--net"] if inside else []
    subprocess.run([*enter, "ip", *words], check=True, capture_output=True, timeout=10)


def _in_own_net(pid: int) -> int:
    """*pid*, as soon as it has left our network name space."""
    ours = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        if time.monotonic() > deadline:
            raise TimeoutError("a process did not get its own network")
        time.sleep(0.01)
    return pid


def _free_net() -> str:
    """The first three numbers of a /24 that this machine knows nothing of."""
    known = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    while True:
        net = f"10.{random.randrange(200, 250)}.{random.randrange(1, 255)}"
        if f" {net}." not in known:
            return net
