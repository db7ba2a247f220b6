"""Hosts on this machine: each with files, network, processes and a name of its own, on a network of its own.

    the tests -- veth -- [switch namespace: bridge, and more bridges] -- veth -- [a host's namespaces]

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
from collections.abc import Mapping, Sequence
from pathlib import Path

from omserver_master.demo import keeper
from omserver_master.demo.kept import short_folder

CHECKOUT = Path(__file__).resolve().parents[2]
#: The bridge that the machine which the tests run on is plugged into.
OUTER = "br0"
_HOST = Path(__file__).with_name("host.sh")
_SWITCH = "switch"


def why_not(*tools: str) -> str:
    """Why no hosts can be made on this machine; ``""`` if they can. *tools* are needed besides."""
    if os.geteuid() != 0:
        return "hosts of their own need root, for namespaces"
    missing = [tool for tool in ("ip", "unshare", "nsenter", *tools) if shutil.which(tool) is None]
    if missing:
        return f"hosts of their own need {', '.join(missing)}"
    probe = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True)
    return "" if probe.returncode == 0 else "this machine allows no namespaces"


class Spaces:
    """The hosts and other daemons of one site, in one folder. ``net`` are the first three numbers of its /24.

    ``pids`` are the daemons that run, by their names.
    """

    def __init__(self) -> None:
        self.folder = short_folder()
        self.net = free_net()
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.pids: dict[str, int] = {}
        self._tag = f"om{os.getpid() % 100000:x}{random.randrange(4096):03x}"
        self._news: queue.Queue[str] = queue.Queue()
        self._keeper: subprocess.Popen[str] | None = None

    def start(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Start the switch and these daemons, and plug this machine in, as number 1 of the net."""
        everything = {
            _SWITCH: ["unshare", "--net", "--kill-child", "--fork", "sleep", "infinity"],
            **commands,
        }
        wire = {
            name: {"argv": list(argv), "log": str(self.logs / f"{name}.out")}
            for name, argv in everything.items()
        }
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, json.dumps(wire), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._hear, args=(self._keeper,), daemon=True).start()
        for name in everything:
            self.pids[name] = self._wait_started(name)
        self._wire_switch()

    def stop(self) -> None:
        """Leave no process, no network card and no file behind."""
        if self._keeper is not None:
            self._keeper.stdin.close()
            self._keeper.wait(15)
            self._keeper = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop_one(self, name: str) -> None:
        """Kill a daemon, and if it is a host all of it."""
        self._order("stop", name)

    def start_one(self, name: str) -> None:
        """Start a daemon again; a host with fresh files, and not yet on the network."""
        self._order("start", name)

    def host_command(self, name: str, kind: str, address: str, argv: Sequence[str]) -> list[str]:
        """What starts a host that waits for *address*, then runs *argv*. The kinds stand in ``host.sh``."""
        spaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        keep = " ".join(sorted({str(CHECKOUT), sys.prefix, sys.base_prefix}))
        return ["unshare", *spaces, "sh", str(_HOST), name, kind, address, str(self.folder), keep, *argv]

    def wire(self, name: str, address: str, card: str = "eth0", bridge: str = OUTER) -> None:
        """Give a host a network card with *address* (of a /24), plugged into *bridge*."""
        pid, switch = _in_own_net(self.pids[name]), self.pids[_SWITCH]
        plug = f"{card[-1]}c{pid}"
        ip("link", "add", plug, "type", "veth", "peer", "name", card, "netns", str(pid), inside=switch)
        self._plug(switch, plug, bridge)
        ip("link", "set", "lo", "up", inside=pid)
        # A host that comes back is known by its old hardware address; nobody has to look for it.
        ip("link", "set", card, "address", _hardware_address(address), inside=pid)
        ip("link", "set", card, "up", inside=pid)
        ip("addr", "add", f"{address}/24", "dev", card, inside=pid)

    def add_bridge(self, bridge: str) -> None:
        """A network segment of its own; nothing is plugged in."""
        ip("link", "add", bridge, "type", "bridge", inside=self.pids[_SWITCH])
        ip("link", "set", bridge, "up", inside=self.pids[_SWITCH])

    def lead_nowhere(self, network: str) -> None:
        """Look for *network* among the hosts, and nowhere outside of this machine."""
        ip("route", "add", network, "dev", self._tag)

    def answer_for(self, name: str, address: str, network: str) -> None:
        """Let a host, that has *address*, answer for all addresses of *network* (such as 10.1.0.0/22)."""
        ip("route", "add", "local", network, "dev", "lo", inside=self.pids[name])
        ip("route", "replace", network, "via", address)

    def inside(self, name: str) -> int:
        """The first process in a host's process name space."""
        return keeper.children(self.pids[name])[0]

    def exec(
        self, name: str, argv: Sequence[str], check: bool = False, seconds: float = 30
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside a host, past every engine: to look what is really there."""
        enter = ["nsenter", "--target", str(self.inside(name)), "--mount", "--net", "--pid", "--uts"]
        return subprocess.run([*enter, *argv], capture_output=True, timeout=seconds, check=check)

    def last_words(self) -> str:
        """The ends of the daemons' logs."""
        logs = sorted(self.logs.iterdir())
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-500:]}" for log in logs)

    def _wire_switch(self) -> None:
        pid = _in_own_net(self.pids[_SWITCH])
        ip("link", "add", self._tag, "type", "veth", "peer", "name", "machine", "netns", str(pid))
        ip("addr", "add", f"{self.net}.1/24", "dev", self._tag)
        ip("link", "set", self._tag, "up")
        self.add_bridge(OUTER)
        self._plug(pid, "machine", OUTER)

    def _plug(self, switch: int, card: str, bridge: str) -> None:
        ip("link", "set", card, "master", bridge, inside=switch)
        ip("link", "set", card, "up", inside=switch)

    def _order(self, order: str, name: str) -> None:
        self._keeper.stdin.write(f"{order} {name}\n")
        self._keeper.stdin.flush()
        if order == "start":
            self.pids[name] = self._wait_started(name)
        else:
            self._wait_news(f"stopped {name}")
            self.pids.pop(name, None)

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


def ip(*words: str, inside: int | None = None) -> None:
    """Run ``ip``, *inside* the network of that process or here."""
    enter = ["nsenter", "--target", str(inside), "--net"] if inside else []
    subprocess.run([*enter, "ip", *words], check=True, capture_output=True, timeout=10)


def free_net(first: int = 200, step: int = 1) -> str:
    """The first three numbers of a /24 that this machine knows nothing of, from 10.*first*.0.0 on.

    The third number is a multiple of *step*, and so begins a larger network: 4 for a /22.
    """
    known = "".join(
        subprocess.run(["ip", "-o", what], capture_output=True, text=True, check=True).stdout
        for what in ("addr", "route")
    )
    while True:
        net = f"10.{random.randrange(first, first + 50)}.{random.randrange(step, 255, step)}"
        if f"{net}." not in known:
            return net


def _hardware_address(address: str) -> str:
    return "02:00:" + ":".join(f"{int(number):02x}" for number in address.split("."))


def _in_own_net(pid: int) -> int:
    """*pid*, as soon as it has left our network name space."""
    ours = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        if time.monotonic() > deadline:
            raise TimeoutError("a process did not get its own network")
        time.sleep(0.01)
    return pid
