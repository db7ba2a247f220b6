"""One child process as the worker sees it: send it orders, receive its messages, stop all of it.

Nothing that module code does reaches further than here: printing is drained and cut, rubbish on the channel,
silence and death become one last message ``crashed`` with a reason for people.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .killing import kill_tree, signal_name

Message = dict[str, Any]

#: The folder that holds our packages: the child may have been started from a checkout.
_ROOT = Path(__file__).resolve().parents[2]
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from omserver_master.registry.child import main;"
    " sys.path.remove(sys.argv[1]); main(sys.argv[2:])"
)
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 1 << 18
_FINAL = ("done", "broken", "described")
#: What a child says, and what such a message holds at least.
_SAYS = {
    "ready": (),
    "waiting": ("heard",),
    "described": ("title", "params", "direct"),
    "work": ("items",),
    "end": ("host", "end"),
    "crashed": ("line", "reason"),
    "direct": ("results",),
    "note": ("text",),
    "broken": ("line", "reason"),
    "done": (),
}


@dataclass(frozen=True)
class ChildLimits:
    """What module code may use: bytes, seconds, and jobs after which a process is replaced."""

    memory: int = 1 << 30
    log: int = 64 * 1024
    message: int = 64 << 20
    describe_seconds: float = 10.0
    start_seconds: float = 30.0
    jobs: int = 1000


class _Over(Exception):
    """Nothing more can be expected from this child."""


class _Died(_Over):
    """The process is gone; whoever runs the same code in another one may have more luck."""


class Child:
    """A process that runs the code of one module at a time. Used by one thread at a time."""

    def __init__(self, limits: ChildLimits) -> None:
        self.limits = limits
        self.jobs = 0
        #: The last order is finished: the last message about it was received.
        self.done = True
        #: The process may be used for another order.
        self.reusable = True
        self._sent = self._heard = 0
        self._rest = b""
        self._messages: list[Message] = []
        self._log, self._log_bytes = b"", 0
        self._over: _Over | None = None
        self._ready = False
        self._reaped = False
        self._folder = tempfile.mkdtemp(prefix="omserver-child-")
        try:
            self._start()
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @property
    def pid(self) -> int:
        """The process id, which is the id of its process group too."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What the module printed during its last order, as far as it is kept."""
        text = self._log.decode("utf-8", "replace")
        left_out = self._log_bytes - len(self._log)
        return f"{text}\n[{left_out} bytes left out]" if left_out else text

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return not self._reaped and self._exit() is None

    def send(self, order: Message) -> None:
        """Send one order. A child that is over, or no longer wants it, says so at the next `receive`."""
        if order["do"] in ("start", "describe"):
            self.done, self.jobs = False, self.jobs + 1
            self._log, self._log_bytes = b"", 0
        if self.done or self._over:
            return
        self._sent += 1
        line = memoryview(json.dumps(order, separators=(",", ":")).encode() + b"\n")
        try:
            self._write(line)
        except _Over as over:
            self._over = over

    def receive(self, timeout: float) -> Iterator[Message]:
        """The messages about the last order, as they come, until the child waits for answers or is done.

        *timeout* is how many seconds it may be silent while it is its turn; then it is killed. However it
        ends, the last message of an order is ``done``, ``broken``, ``described``, or ``crashed`` without a
        host; ``died`` then says whether the process had ended by itself or was killed by others.
        """
        while not self.done:
            try:
                message = self._next(timeout)
            except _Over as over:
                yield self._crash(over)
                return
            if message is None:
                return
            self.done = message["say"] in _FINAL or (message["say"] == "crashed" and "host" not in message)
            if self.done:
                self.reusable = not message.pop("retire", True)
                self._drain_log()
            yield message

    def ask(self, order: Message, timeout: float) -> Message:
        """Send an order that needs no answers; the last message about it."""
        self.send(order)
        *_, final = self.receive(timeout)
        return final

    def kill(self) -> None:
        """Stop everything, and clean up. For the thread that uses the child."""
        self.reusable, self.done = False, True
        if self._reaped:
            return
        self.stop()
        self._process.wait()
        self._reaped = True
        if not self._output.closed:
            self._drain_log()
        self._socket.close()
        self._output.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def stop(self) -> None:
        """Kill the process, its group, and what it started elsewhere; any thread may do this."""
        if not self._reaped:
            kill_tree(self.pid, self._folder)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        arguments = [str(_ROOT), str(theirs.fileno()), str(os.getpid()), str(self.limits.memory)]
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-u", "-c", _BOOT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd=self._folder,
                env=_environment(self._folder),
            )
        self._socket.setblocking(False)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)

    def _next(self, timeout: float) -> Message | None:
        """The next message; None when the child waits for answers.

        Raises:
            _Over: there will be none.
        """
        began = time.monotonic()
        while True:
            while self._messages:
                message = self._messages.pop(0)
                if message["say"] == "waiting":
                    self._heard = message["heard"]
                elif message["say"] == "ready":
                    self._ready, began = True, time.monotonic()
                else:
                    return message
            if self._over is not None:
                raise self._over
            if self._heard == self._sent:
                return None
            self._pump(self._patience(began, timeout))

    def _patience(self, began: float, timeout: float) -> float:
        """Seconds left to wait; a process that is still starting has a limit of its own.

        Raises:
            _Over: none are left.
        """
        limit = timeout if self._ready else self.limits.start_seconds
        left = began + limit - time.monotonic()
        if left <= 0 and self._ready:
            raise _Over(f"The module's code was stopped: it ran for more than {timeout:g} s without a word.")
        if left <= 0:
            raise _Over(f"A process for the module's code did not start within {limit:g} s.")
        return left

    def _pump(self, seconds: float, outgoing: memoryview | None = None) -> int:
        """Move what can be moved within *seconds*; the number of bytes of *outgoing* that are gone."""
        writers = [self._socket] if outgoing else []
        readers: list[Any] = [self._socket] if self._output.closed else [self._socket, self._output]
        readable, writable, _ = select.select(readers, writers, [], seconds)
        if self._output in readable:
            self._read_output()
        if self._socket in readable:
            self._read_messages()
        if writable and outgoing:
            try:
                return self._socket.send(outgoing[:_CHUNK])
            except BlockingIOError:
                return 0
            except OSError:
                raise _Died(self._obituary()) from None
        return 0

    def _write(self, line: memoryview) -> None:
        last = time.monotonic()
        while line:
            gone = self._pump(1.0, line)
            line = line[gone:]
            last = time.monotonic() if gone else last
            if time.monotonic() - last > self.limits.start_seconds:
                raise _Over("The module's code was stopped: it did not read its answers.")

    def _read_messages(self) -> None:
        try:
            chunk = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            raise _Died(self._obituary())
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > self.limits.message:
            raise _Over(f"The module's code was stopped: a message of more than {self.limits.message} bytes.")
        self._messages += map(_read_line, lines)

    def _read_output(self) -> bool:
        """Keep a little of what the module printed; False when there is nothing more now."""
        try:
            chunk = os.read(self._output.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._output.close()
            return False
        self._log_bytes += len(chunk)
        self._log += chunk[: max(0, self.limits.log - len(self._log))]
        return True

    def _drain_log(self) -> None:
        for _ in range(1000):  # a module that prints for ever must not hold us
            if self._output.closed or not self._read_output():
                return

    def _obituary(self) -> str:
        """How the process died, once its channel is closed."""
        last = time.monotonic() + 1
        while (exit := self._exit()) is None and time.monotonic() < last:
            time.sleep(0.01)
        if exit is None:
            return "The module's code closed the channel of its process."
        if exit.si_code == os.CLD_EXITED:
            return f"The module's process ended by itself, with exit status {exit.si_status}."
        return f"The module's process was ended by {signal_name(exit.si_status)}."

    def _exit(self) -> os.waitid_result | None:
        """How the process ended, if it did; it stays a zombie, so that its number stays its own."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)

    def _crash(self, over: _Over) -> Message:
        self.kill()
        return {"say": "crashed", "line": None, "reason": str(over), "died": isinstance(over, _Died)}


def _read_line(line: bytes) -> Message:
    """One message.

    Raises:
        _Over: that is none; module code wrote to the channel.
    """
    try:
        message = json.loads(line)
        if all(name in message for name in _SAYS[message["say"]]):
            assert isinstance(message, dict)
            return message
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise _Over("The module's code wrote something to the channel of its process.")


def _environment(folder: str) -> dict[str, str]:
    """A few variables; none of ours, and no secret of the worker's."""
    given = {name: os.environ[name] for name in ("TZ",) if name in os.environ}
    return {"PATH": _SYSTEM_PATH, "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder, **given}
