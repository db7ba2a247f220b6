"""Processes that the demo starts: each with a log of its own, and none outlives the demo."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .keeper import PR_SET_CHILD_SUBREAPER

_PR_SET_PDEATHSIG = 1
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
#: How many bytes of a log's end are read to say why a process died.
_TAIL = 4096

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Child:
    """A process in a session of its own, started by `start`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def last_words(self, lines: int = 6) -> str:
        """The end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, seconds: float) -> None:
        """End it: politely, then, after *seconds*, by force, with all that it started."""
        if self.alive:
            self.process.terminate()
            self._wait(seconds)
        # The group outlives its leader while anything of it runs; nothing may.
        _kill_group(self.process.pid)
        self._wait(5.0)

    def _wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)


def start(name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Child:
    """Start *argv* as the child *name*, its output going to the end of *log*.

    It gets SIGTERM when we die, so call this from the main thread: the kernel watches the thread.
    """
    with log.open("ab") as output, _interrupts_held():
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    return Child(name, process, log)


def adopt_orphans() -> None:
    """Become the parent of whatever our children leave behind, so that it can be found and ended."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let no interrupt arrive between fork and exec, where Python would tell of it in the child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """In the child, before exec: drop an interrupt that was meant for the parent, then listen to our own."""
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
