"""Keeps a few daemons for as long as somebody holds its standard input open, then leaves no process behind.

Started as a file, not as part of a package, so that it is there at once:

    python keeper.py '{"name": {"argv": [...], "log": "path"}, ...}' FOLDER

It writes "started NAME PID", and "ended NAME CODE" when a daemon ends by itself. Lines on standard input:
"stop NAME", "start NAME". At the end of standard input, however it comes about, it kills its daemons and all
that they started, also what detached itself, and removes FOLDER.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
#: Seconds until it gives up on processes that do not even die of SIGKILL.
PATIENCE = 8.0


class Keeper:
    """The daemons by name, each the leader of a session of its own."""

    def __init__(self, commands: dict[str, dict[str, Any]]) -> None:
        self.commands = commands
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start one daemon; its output goes to its log."""
        command = self.commands[name]
        with Path(command["log"]).open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        say(f"started {name} {self.daemons[name].pid}")

    def stop(self, name: str) -> None:
        """Kill one daemon and all that it started."""
        daemon = self.daemons.pop(name, None)
        if daemon is not None:
            family = [daemon.pid, *descendants(daemon.pid)]
            kill(family)
            daemon.wait(10)
            bury(family)
        say(f"stopped {name}")

    def look(self) -> None:
        """Collect the dead; tell of daemons among them."""
        for name, daemon in list(self.daemons.items()):
            if daemon.poll() is not None:
                del self.daemons[name]
                say(f"ended {name} {daemon.returncode}")
        mine = {daemon.pid for daemon in self.daemons.values()}
        for pid in children(os.getpid()):
            if pid not in mine:
                reap(pid)


def say(line: str) -> None:
    """Tell the one who holds us; nobody may be there any more."""
    try:
        os.write(1, f"{line}\n".encode())
    except OSError:
        return


def children(pid: int) -> list[int]:
    """The children of a process; none if it is gone."""
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in listing.read_text().split()]
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    """All that a process started and that still hangs on it."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL; who is gone already is fine."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def reap(pid: int) -> None:
    """Collect a dead child that came to us; a live one is left alone."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def bury(pids: list[int]) -> None:
    """Wait until killed processes, that come to us as orphans, are gone with all that they had open."""
    give_up = time.monotonic() + PATIENCE
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < give_up:
        for pid in left:
            reap(pid)
        time.sleep(0.01)


def kill_everybody() -> None:
    """Kill all descendants until none is left."""
    give_up = time.monotonic() + PATIENCE
    while (left := descendants(os.getpid())) and time.monotonic() < give_up:
        kill(left)
        for pid in children(os.getpid()):
            reap(pid)
        time.sleep(0.02)


def obey(keeper: Keeper, line: str) -> None:
    """Do what one line of standard input says."""
    order, _, name = line.partition(" ")
    if name in keeper.commands:
        {"start": keeper.start, "stop": keeper.stop}[order](name)


def main() -> None:
    """Keep until standard input ends or a signal comes."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    keeper = Keeper(json.loads(sys.argv[1]))
    try:
        for name in keeper.commands:
            keeper.start(name)
        pending = b""
        while True:
            readable, _, _ = select.select([0], [], [], 0.5)
            keeper.look()
            if readable:
                chunk = os.read(0, 4096)
                if not chunk:
                    return
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    obey(keeper, line.decode())
    finally:
        kill_everybody()
        shutil.rmtree(sys.argv[2], ignore_errors=True)


if __name__ == "__main__":
    main()
