"""For engines that start one process here for each host: it enters the host, and is spoken to there.

    class ChrootBackend(ProcessBackend):
        kind = "chroot"

        def _enter(self, host: Target) -> Sequence[str]:
            return ["chroot", f"/srv/{host.name}"]

What runs inside says at once that it is there, and its process number: by that an unreachable host is told
from one that works, and work can be stopped through a second process, whatever a signal does to the first.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..contract.work import Answer, Work
from .base import Backend, ConnectionDown, Flight, Proof, Target, no_output
from .onhost import COMMAND, UnfitWork, most_bytes, pack, unpack

#: Seconds that a process gets to end after its last word, or when it is cancelled.
GRACE = 5.0
#: `COMMAND`, which says first that it was reached.
_SPOKEN = (*COMMAND[:2], f'echo "om1-here $$"\n{COMMAND[2]}')
_HERE = re.compile(rb"om1-here (\d{1,10})\n")
#: Stops a process; 3: there is none, 4: it had to be killed, and what it started may live on.
_STOP = """
kill -TERM "$1" || exit 3
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "$1" || exit 0
    sleep 0.2 || sleep 1
done
kill -KILL "$1"
exit 4
"""


class ProcessBackend(Backend):
    """A process a host. Subclasses say how a host is entered, and whether anything can be."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._running: dict[tuple[str, str], _Conversation] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def _enter(self, host: Target) -> Sequence[str]:
        """The words that, put before a command with its arguments, run it on *host*, with our pipes.

        Raises:
            ValueError: this host can't be entered, and the text says why.
        """

    def close(self) -> None:
        """Stop what still runs."""
        with self._lock:
            running = list(self._running.values())
        for conversation in running:
            conversation.process.kill() if conversation.pid is None else conversation.stop()

    def _dispatch(self, flight: Flight) -> None:
        reachability = self.probe()
        if not reachability.up:
            raise ConnectionDown(reachability.reason)
        try:
            stdin = pack(flight.work, flight.host_seconds)
        except UnfitWork as error:
            for host in flight.missing:
                flight.answer(host.id, no_output("not_started", str(error)))
            return
        for host in flight.missing:
            self._start(flight, host, stdin)

    def _start(self, flight: Flight, host: Target, stdin: bytes) -> None:
        try:
            conversation = _Conversation(self._enter(host))
        except (OSError, ValueError) as error:
            flight.answer(host.id, no_output("not_started", f"No process could be started: {error}."))
            return
        with self._lock:
            self._running[flight.handle, host.id] = conversation
        listener = threading.Thread(
            target=self._listen, args=(flight, host, conversation, stdin), daemon=True
        )
        listener.start()

    def _listen(self, flight: Flight, host: Target, conversation: _Conversation, stdin: bytes) -> None:
        try:
            if conversation.greet(stdin):
                flight.reached(host.id, "its process was started")
            answer = conversation.end(flight.work)
        finally:
            with self._lock:
                self._running.pop((flight.handle, host.id), None)
        flight.answer(host.id, answer)

    def _silent(self, flight: Flight, host: Target) -> Answer:
        return no_output("unreachable", "The host could not be entered in time.")

    def _release(self, flight: Flight) -> None:
        # Who is told that a host was not reached must not see it begin later.
        with self._lock:
            mine = [self._running.get((flight.handle, host_id)) for host_id in flight.hosts]
        for conversation in mine:
            if conversation is not None and conversation.pid is None:
                conversation.process.kill()

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        with self._lock:
            running = {host.id: self._running.get((handle, host.id)) for host in hosts}
        proofs: dict[str, Proof] = dict.fromkeys(running, "unknown")
        threads = [
            threading.Thread(target=lambda i=i, c=c: proofs.update({i: c.stop()}), daemon=True)
            for i, c in running.items()
            if c is not None
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(3 * GRACE)
        return dict(proofs)


class _Conversation:
    """One process that enters a host, and what is said to it and by it."""

    def __init__(self, enter: Sequence[str]) -> None:
        self._enter = list(enter)
        self.pid: str | None = None
        self._greeted = threading.Event()
        self.process = subprocess.Popen(
            [*self._enter, *_SPOKEN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def greet(self, stdin: bytes) -> bool:
        """Give it its work; whether it said that it is on the host."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as feed:
            feed.write(stdin)
        self._first = self.process.stdout.readline(100)
        if found := _HERE.fullmatch(self._first):
            self.pid = found[1].decode()
        self._greeted.set()
        return self.pid is not None

    def end(self, work: Work) -> Answer:
        """Read its answer (never more than an answer can have), and wait for its end."""
        assert self.process.stdout is not None
        with self.process.stdout as output:
            raw = output.read(most_bytes(work) + 1)
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(GRACE)
        complaint = self._complaint()
        if self.pid is None and not self._first:
            return no_output("unreachable", f"The host could not be entered: {complaint}.")
        if self.pid is not None and self.process.returncode != 0:
            return no_output("unknown", "The process that ran it was stopped from outside.")
        return unpack(raw if self.pid is not None else self._first + raw, work)

    def _complaint(self) -> str:
        """The last line of the program that enters hosts, without waiting for more of them."""
        assert self.process.stderr is not None
        with self.process.stderr as errors:
            os.set_blocking(errors.fileno(), False)
            lines = (errors.read(4000) or b"").decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][:200].rstrip(".") if said else f"return code {self.process.returncode}"

    def stop(self) -> Proof:
        """Stop it on the host, and say what was proved."""
        if not self._greeted.wait(GRACE) or self.pid is None:
            self.process.kill()
            return "unknown"
        stop = [*self._enter, "/bin/sh", "-c", _STOP, "sh", self.pid]
        try:
            stopped = subprocess.run(stop, capture_output=True, stdin=subprocess.DEVNULL, timeout=2 * GRACE)
            # 0: it had come to its own end already, and its answer is on the way.
            ended_well = self.process.wait(GRACE) == 0
        except subprocess.TimeoutExpired:
            return "still_running"
        return "stopped" if stopped.returncode == 0 and not ended_well else "unknown"
