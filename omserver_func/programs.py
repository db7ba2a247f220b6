"""The minion's module `omserver`: programs that run under a name of the caller's choice.

    omserver.run(name, argv, stdin, most, seconds)   start it, unless the name was used; wait for its end
    omserver.wait(name, seconds)                     wait for its end
    omserver.cancel(name)                            end it, with its process group

Each answers a struct: ``state`` is ``running``, ``done`` (then ``rc`` and ``output``, at most *most* bytes
and one), ``stopped``, ``cancelled`` (before it came), ``forgotten`` (all answers together grew too large) or
``none``; ``up`` is for how many seconds the minion has been up. A name is used once, so that a repeated call
starts nothing twice; it is the caller's own, and known until an hour after the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from xmlrpc.client import Binary

from .errors import FuncError

#: Seconds for which a caller may wait in one call: less than the 20 s after which Func's peers hang up.
MOST_WAIT = 15.0
GRACE = 5.0
AFTERWARDS = 0.5
KEEP_SECONDS = 3600.0
_MOST_OUTPUT = 64 * 1024 * 1024
_MOST_NAMES = 10_000
_MOST_KEPT = 256 * 1024 * 1024


@dataclass
class _Program:
    most: int
    ended: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    state: str = "running"
    rc: int = 0
    output: bytes = b""
    since: float = field(default_factory=time.monotonic)


class Programs:
    """All programs of one minion that were started under a name."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Program] = {}
        self._lock = threading.Lock()
        self._up_since = time.monotonic()

    def methods(self, caller: str) -> dict[str, Callable[..., Any]]:
        """The module's methods for one caller."""
        return {
            "run": partial(self.run, caller),
            "wait": partial(self.wait, caller),
            "cancel": partial(self.cancel, caller),
        }

    def run(
        self, caller: str, name: str, argv: list[str], stdin: Binary, most: int, seconds: float
    ) -> dict[str, Any]:
        """Start *argv* under *name*, unless there was one; then `wait`."""
        if not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
            raise FuncError("A program and its arguments are needed.")
        name, program = str(name), _Program(max(0, min(int(most), _MOST_OUTPUT)))
        with self._lock:
            self._purge()
            if (caller, name) not in self._known:
                if len(self._known) >= _MOST_NAMES:
                    raise FuncError(f"{_MOST_NAMES} programs are known already.")
                self._known[caller, name] = program
                _start(program, argv, bytes(stdin.data))
        return self.wait(caller, name, seconds)

    def wait(self, caller: str, name: str, seconds: float) -> dict[str, Any]:
        """What is known of the program, after its end or after *seconds* (15 at most)."""
        with self._lock:
            program = self._known.get((caller, name))
        if program is None:
            return {"state": "none", "up": self._up}
        program.ended.wait(max(0.0, min(float(seconds), MOST_WAIT)))
        return _said(program) | {"up": self._up}

    @property
    def _up(self) -> float:
        return time.monotonic() - self._up_since

    def cancel(self, caller: str, name: str) -> dict[str, Any]:
        """End the program; one that has not come yet is refused when it comes."""
        with self._lock:
            program = self._known.get((caller, name))
            if program is None:
                program = self._known[caller, str(name)] = _Program(0, state="cancelled")
                program.ended.set()
        if program.process is not None and not program.ended.is_set():
            program.state = "stopping"
            _stop(program)
        return _said(program) | {"up": self._up}

    def close(self) -> None:
        """End all of them."""
        with self._lock:
            running = [program for program in self._known.values() if not program.ended.is_set()]
        for program in running:
            program.state = "stopping"
            _stop(program)

    def _purge(self) -> None:
        before = time.monotonic() - KEEP_SECONDS
        ended = sorted((one.since, name) for name, one in self._known.items() if one.ended.is_set())
        size = sum(len(one.output) for one in self._known.values())
        for since, name in ended:
            program = self._known[name]
            if since < before:
                del self._known[name]
            elif size > _MOST_KEPT and program.output:
                size -= len(program.output)
                program.output, program.state = b"", "forgotten"


def _said(program: _Program) -> dict[str, Any]:
    if not program.ended.is_set():
        return {"state": "running"}
    if program.state != "done":
        return {"state": program.state}
    return {"state": "done", "rc": program.rc, "output": Binary(program.output)}


def _start(program: _Program, argv: list[str], stdin: bytes) -> None:
    try:
        program.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        program.state, program.rc = "done", 127
        program.output = f"om1-cannot {error.strerror}".encode()
        program.ended.set()
        return
    threading.Thread(target=_listen, args=(program, program.process, stdin), daemon=True).start()


def _listen(program: _Program, process: subprocess.Popen[bytes], stdin: bytes) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as feed:
        feed.write(stdin)
    with process.stdout as output:
        program.output = output.read(program.most + 1)
    try:
        program.rc = process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _kill(process)
        program.rc = process.wait(GRACE)
    # Who was asked to stop and came to its own end all the same has an answer.
    stopped = program.state == "stopping" and program.rc != 0
    program.state = "stopped" if stopped else "done"
    program.since = time.monotonic()
    program.ended.set()


def _stop(program: _Program) -> None:
    assert program.process is not None
    program.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.process.wait(GRACE)
    # What it started may hold its output open.
    if not program.ended.wait(AFTERWARDS):
        _kill(program.process)
        program.ended.wait(GRACE)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
