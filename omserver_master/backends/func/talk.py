"""What is said to one minion about one dispatch, step by step; see `rounds.py`.

To `omserver-funcd`: its module `omserver` runs the wrapper under the handle, so that nothing runs twice and
the answer can be asked for again. To a minion of the original Func: `old.py`.
"""

from __future__ import annotations

import ssl
import threading
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omserver_func.errors import CallFailed, MalformedMessage, is_denied, is_error
from omserver_func.transport import MinionConnection

from ...contract.work import Answer
from ..base import Flight, NoOutput, Target, no_output
from ..onhost import COMMAND, most_bytes, unpack
from . import old as old_minion
from .rounds import Step

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
#: Seconds that two clocks, and a restart of the minion, may be apart.
_MARGIN = 60.0
_NO_MODULE = ("ModuleNotFoundException", "InvalidMethodException")


@dataclass(frozen=True)
class Road:
    """How minions are reached. *caller* is how they know us."""

    context: ssl.SSLContext
    port: int
    timeout: float
    verify_name: bool
    caller: str

    def connect(self, host: Target) -> MinionConnection:
        """A connection, not opened yet."""
        name = host.remote_id or host.name
        return MinionConnection(
            name, self.context, self.port, address=host.address, verify_name=self.verify_name
        )


class Denied(Exception):
    """The minion does not let us call a method."""


class NoSuchMethod(Exception):
    """The minion has no such method."""


class MinionError(Exception):
    """The minion answers with an error."""


def call(minion: MinionConnection, method: str, arguments: Sequence[Any], seconds: float) -> Any:
    """What the minion answers.

    Raises:
        Denied, NoSuchMethod, MinionError: it answers that.
        CallFailed: it does not answer.
    """
    try:
        answer = minion.call(method, arguments, seconds=seconds)
    except xmlrpc.client.Fault as fault:
        if is_denied(fault):
            raise Denied(method) from fault
        raise MinionError(_short(fault.faultString)) from fault
    if not is_error(answer):
        return answer
    kind, text = (str(word) for word in (*answer[1:3], "", "")[:2])
    if kind.rstrip("'>").endswith(_NO_MODULE):
        raise NoSuchMethod(method)
    raise MinionError(_short(f"{kind.rpartition('.')[2]}: {text}"))


def age_of(handle: str) -> float:
    """For how many seconds the handle exists, by the clock; some seconds more than less."""
    try:
        return max(0.0, time.time() - int(handle.partition("-")[0], 16)) + _MARGIN
    except ValueError:
        return float("inf")


class Talk:
    """One conversation. It puts the host's answer into the flight, once."""

    def __init__(self, road: Road, flight: Flight, host: Target, stdin: bytes | None) -> None:
        """*stdin* is what the wrapper reads; None: nothing is run, only found again."""
        self._road, self._flight, self._host, self._stdin = road, flight, host, stdin
        self._folder = old_minion.name_of(flight.handle, host)
        self._minion = road.connect(host)
        self._lock = threading.Lock()
        self._next: Step = self._run if stdin is not None else self._ask
        self._began = self._over = self._taken = False
        self._called_off = self._going = False
        self._trouble = ""
        self._job = ""
        self._pause = _FIRST_PAUSE

    def step(self, linger: float) -> float | None:
        """Say the next thing. Gives the seconds until the one after it, or None: it is over."""
        with self._lock:
            if self._over:
                return None
            self._began = True
        try:
            return self._next(min(linger, max(0.0, self._flight.left - 1)))
        except CallFailed as failed:
            return self._failed(failed)
        except Denied as denied:
            return self._say(self._no_trace, self._refusal(str(denied)))
        except NoSuchMethod as error:
            return self._say(self._no_trace, f"The minion has no method {error}.")
        except MinionError as error:
            return self._say(self._no_trace, f"The minion answers: {error}")

    @property
    def _no_trace(self) -> NoOutput:
        """What it means that the minion does not do as it was asked."""
        return "unknown" if self._taken or self._stdin is None else "not_started"

    def verdict(self) -> Answer:
        """The answer at the deadline; nothing is said any more."""
        if not self._close():
            if self._stdin is None:
                reason = self._trouble or "It did not answer a connection."
                return no_output("unknown", f"Was sent before; now the minion is not reached: {reason}")
            if self._began:
                return no_output("unreachable", self._trouble or "The minion did not answer a connection.")
            return no_output("not_started", "Its turn did not come before the deadline.")
        if self._trouble:
            when = "took the work; since then" if self._taken else "may have got the work;"
            return no_output("unknown", f"The minion {when} {_small(self._trouble)}")
        if self._taken:
            return no_output("timed_out", "Not finished by the deadline; the minion says that it runs.")
        return no_output("unknown", "The minion was asked, and has not answered by the deadline.")

    def call_off(self) -> bool:
        """Never let a minion of the original begin from now on; whether it was not told to so far.

        Our own daemon remembers by itself what was cancelled before it came.
        """
        with self._lock:
            self._called_off = True
            return not self._going

    def close(self) -> None:
        """Say nothing any more."""
        self._close()

    def _close(self) -> bool:
        """Whether anything was said before."""
        with self._lock:
            self._over = True
        return self._minion.hang_up()

    def _call(self, method: str, arguments: Sequence[Any], linger: float = 0.0) -> Any:
        seconds = min(linger + self._road.timeout, max(0.1, self._flight.left))
        answer = call(self._minion, method, arguments, seconds)
        self._trouble = ""
        return answer

    def _failed(self, failed: CallFailed) -> float | None:
        """The call came to no answer: give up where nothing was sent yet, else ask what became of it."""
        self._trouble = _short(str(failed))
        if isinstance(failed.__cause__, MalformedMessage):
            return self._say("unknown", f"The minion's reply can't be read: {self._trouble}")
        starting = self._next in (self._run, self._begin, self._copy)
        if starting and (not failed.sent or self._next != self._run):
            return self._say("unreachable", self._trouble)
        if self._next == self._run:
            self._next = self._ask
        elif self._next == self._go:
            self._next = self._look
        return self._slower()

    def _say(self, state: NoOutput, reason: str) -> float | None:
        return self._answer(no_output(state, reason))

    def _answer(self, answer: Answer) -> float | None:
        self._over = True
        self._minion.close()
        self._flight.answer(self._host.id, answer)
        return None

    def _slower(self) -> float:
        pause, self._pause = self._pause, min(_LONGEST_PAUSE, self._pause * 1.5)
        return pause

    def _refusal(self, method: str) -> str:
        return f"The minion refuses {method} to {self._road.caller}: its ACLs must grant it."

    # omserver-funcd

    def _run(self, linger: float) -> float | None:
        assert self._stdin is not None
        stdin = xmlrpc.client.Binary(self._stdin)
        most = most_bytes(self._flight.work)
        arguments = [self._flight.handle, list(COMMAND), stdin, most, linger]
        try:
            return self._read(self._call("omserver.run", arguments, linger), linger)
        except (Denied, NoSuchMethod):
            self._next = self._begin
            return 0.0

    def _ask(self, linger: float) -> float | None:
        try:
            said = self._call("omserver.wait", [self._flight.handle, linger], linger)
        except (Denied, NoSuchMethod):
            if self._taken:
                raise
            self._next = self._look
            return 0.0
        return self._read(said, linger)

    def _read(self, said: Any, linger: float) -> float | None:
        state = said.get("state") if isinstance(said, dict) else None
        if state == "running":
            self._taken, self._next = True, self._ask
            return 0.0 if linger else self._slower()
        if state == "done" and isinstance(said.get("output"), xmlrpc.client.Binary):
            return self._done(said.get("rc"), said["output"].data)
        if state == "none":
            self._next = self._bury
            return 0.0
        if state == "cancelled":
            return self._never(said.get("up"), "The job was cancelled first.")
        reasons = {
            "stopped": "Stopped: the job was cancelled.",
            "forgotten": "The minion has forgotten the answer.",
        }
        return self._say("unknown", reasons.get(str(state), "The minion's answer has no form that we know."))

    def _bury(self, linger: float) -> float | None:
        """The minion knows nothing of it; it shall not run it either, should it come yet."""
        said = self._call("omserver.cancel", [self._flight.handle])
        if isinstance(said, dict) and said.get("state") == "cancelled":
            return self._never(said.get("up"), "The minion never got it.")
        return self._read(said, linger)

    def _never(self, up: Any, reason: str) -> float | None:
        """No trace of it: proof enough, if the minion was up all the time."""
        age = age_of(self._flight.handle)
        if self._stdin is not None:
            age = min(age, time.monotonic() - self._flight.started)
        if not self._taken and isinstance(up, int | float) and up > age:
            return self._say("not_started", reason)
        return self._say("unknown", "The minion was restarted meanwhile, and knows nothing of it any more.")

    def _done(self, rc: Any, raw: bytes) -> float | None:
        if rc == 0 or raw.startswith(b"om1-cannot"):
            return self._answer(unpack(raw, self._flight.work))
        return self._say("unknown", "The process that ran it was stopped from outside.")

    # minions of the original Func

    def _begin(self, linger: float) -> float | None:
        code, _, said = _triple(self._call("command.run", [old_minion.begin(self._folder)]))
        if code != 0:
            return self._say("not_started", f"The minion could make no folder: {_short(said)}")
        self._next = self._copy
        return 0.0

    def _copy(self, linger: float) -> float | None:
        assert self._stdin is not None
        path = f"{old_minion.folder(self._folder)}/stdin"
        done = self._call("copyfile.copyfile", [path, xmlrpc.client.Binary(self._stdin), 0o600])
        if done != 1:
            return self._say("not_started", "The minion could not store the work's input.")
        self._next = self._go
        return 0.0

    def _go(self, linger: float) -> float | None:
        with self._lock:
            self._going = not self._called_off
        if not self._going:
            self._next = self._look  # which takes the input away
            return 0.0
        self._job = str(
            self._call("async.command.run", [old_minion.go(self._folder, most_bytes(self._flight.work) + 1)])
        )
        self._taken, self._next = True, self._poll
        return self._slower()

    def _poll(self, linger: float) -> float | None:
        try:
            said = self._call("jobs.job_status", [self._job])
        except (Denied, NoSuchMethod):
            said = None
        if said == [0, -1]:
            return self._slower()
        if isinstance(said, list) and len(said) == 2 and said[0] == 1 and not is_error(said[1]):
            code, raw, _ = _triple(said[1])
            if code == 0:
                return self._answer(unpack(raw.encode("utf-8", "replace"), self._flight.work))
        self._next = self._look
        return self._slower()

    def _look(self, linger: float) -> float | None:
        _, said, _ = _triple(self._call("command.run", [old_minion.look(self._folder)]))
        word, _, rest = said.partition("\n")
        if word == "answer":
            return self._answer(unpack(rest.encode("utf-8", "replace"), self._flight.work))
        if word == "running":
            self._taken = True
            return self._slower()
        if word in ("never", "none") and not self._taken:
            state: NoOutput = "not_started" if age_of(self._flight.handle) < 24 * 3600 else "unknown"
            return self._say(state, "The minion never got it, or forgot it after a day.")
        return self._say("unknown", "It ended on the host without an answer, or its folder is gone.")


def _triple(said: Any) -> tuple[int, str, str]:
    """What `command.run` answers.

    Raises:
        MinionError: that is something else.
    """
    if isinstance(said, list) and len(said) == 3 and isinstance(said[0], int):
        return said[0], str(said[1]), str(said[2])
    raise MinionError("something that command.run does not answer")


def _short(text: str) -> str:
    return " ".join(text.split())[:300]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
