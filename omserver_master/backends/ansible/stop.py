"""Ends the processes of a run: who holds its lock, and what those have started, on this machine only.

Ansible gives each host a process in a session of its own, so there is no one group to send a signal to.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from .folder import JobFolder

#: Seconds within which killed processes must be gone.
GONE = 5.0


def stop(folder: JobFolder, spare: int = 0) -> bool:
    """Kill every process of the run but *spare*; whether none is left.

    ssh's own master processes live on: other runs may be using their connections.
    """
    end = time.monotonic() + GONE
    while True:
        found = _holders(folder.path / "lock") - {spare}
        for process in found:
            _send(process, signal.SIGSTOP)
        for process in found | _offspring(found):
            _send(process, signal.SIGKILL)
        if not found:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.02)


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _holders(lock: Path) -> set[int]:
    """The living processes that hold the run's lock; who only looks whether it is held is none of them."""
    with suppress(FileNotFoundError):
        wanted = lock.stat()
        return {
            process
            for process in _processes()
            if process != os.getpid() and _holds(process, (wanted.st_dev, wanted.st_ino))
        }
    return set()


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _holds(process: int, wanted: tuple[int, int]) -> bool:
    with suppress(OSError):
        for file in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                status = file.stat()
                if (status.st_dev, status.st_ino) == wanted and _locks(process, file.name, wanted[1]):
                    return True
    return False


def _locks(process: int, number: str, inode: int) -> bool:
    """Whether the open file holds the exclusive lock; the worker opens the same file at times.

    The number may have come to mean another file by now, so that the lock's own file is looked at, too.
    """
    for line in Path(f"/proc/{process}/fdinfo/{number}").read_text().splitlines():
        words = line.split()
        if words[:1] == ["lock:"] and words[2:5] == ["FLOCK", "ADVISORY", "WRITE"]:
            return words[6].rpartition(":")[2] == str(inode)
    return False


def _offspring(parents: set[int]) -> set[int]:
    """All that *parents* have started, but for the masters of shared ssh connections."""
    children: dict[int, list[int]] = {}
    for process in _processes():
        with suppress(OSError, ValueError, IndexError):
            words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(words[1]), []).append(process)
    found: set[int] = set()
    left = list(parents)
    while left:
        for child in children.get(left.pop(), []):
            if child not in found and not _is_shared(child):
                found.add(child)
                left.append(child)
    return found


def _is_shared(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().rstrip(b"\0 ").endswith(b"[mux]")
    return False
