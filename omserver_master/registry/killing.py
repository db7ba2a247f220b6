"""End a process together with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def kill_tree(pid: int, home: str) -> None:
    """Kill the process *pid*, its group, all processes below it, and all whose HOME is *home*.

    *pid* is a child of ours that may be dead, and must not be reaped: else its number may be another's.
    """
    _signal([pid], signal.SIGSTOP)
    _signal([*_descendants(pid), *_at_home(home), pid], signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def signal_name(number: int) -> str:
    """The name of a signal: "SIGKILL"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    """All processes below *pid*; orphans are among them, since a child adopts its own (see `child`)."""
    children: dict[int, list[int]] = {}
    for entry in _processes():
        with contextlib.suppress(OSError, IndexError, ValueError):
            # pid (name) state ppid ...; the name may hold spaces and parentheses
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _at_home(home: str) -> list[int]:
    """The processes that inherited the folder of a child, which is nobody else's, as their HOME."""
    mark, found = f"HOME={home}".encode(), []
    for entry in _processes():
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def _processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
