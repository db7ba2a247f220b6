"""Runs work on the master's own machine, as the user that the worker runs as."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..contract.work import Work
from .base import Backend, ConnectionDown, Flight, Proof, Reachability, Target, no_output
from .onhost import COMMAND, UnfitWork, most_bytes, pack, unpack

#: Seconds that a command gets to end by itself when it is cancelled.
GRACE = 5.0


#: Seconds that a process gets to end after its last word.
AFTERWARDS = 5.0


class LocalBackend(Backend):
    """Every host of this connection is this machine. Nothing to set."""

    kind = "local"

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def probe(self) -> Reachability:
        """Up wherever there is a shell."""
        if os.access(COMMAND[0], os.X_OK):
            return Reachability(True)
        return Reachability(False, f"This machine has no {COMMAND[0]}.")

    def close(self) -> None:
        """Stop what still runs."""
        with self._lock:
            running = list(self._running.values())
        for process in running:
            _stop(process)

    def _dispatch(self, flight: Flight) -> None:
        if not self.probe().up:
            raise ConnectionDown(self.probe().reason)
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
            process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            flight.answer(host.id, no_output("not_started", f"No process could be started: {error}."))
            return
        with self._lock:
            self._running[flight.handle, host.id] = process
        flight.reached(host.id, "its process was started")
        listener = threading.Thread(target=self._listen, args=(flight, host, process, stdin), daemon=True)
        listener.start()

    def _listen(self, flight: Flight, host: Target, process: subprocess.Popen[bytes], stdin: bytes) -> None:
        try:
            raw = _converse(process, stdin, flight.work)
        finally:
            with self._lock:
                self._running.pop((flight.handle, host.id), None)
        if process.returncode == 0:
            flight.answer(host.id, unpack(raw, flight.work))
        else:
            flight.answer(host.id, no_output("unknown", "The process that ran it was stopped from outside."))

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        return {host.id: self._stop_one(handle, host) for host in hosts}

    def _stop_one(self, handle: str, host: Target) -> Proof:
        with self._lock:
            process = self._running.get((handle, host.id))
        if process is None:
            return "unknown"
        return _stop(process)


def _converse(process: subprocess.Popen[bytes], stdin: bytes, work: Work) -> bytes:
    """Feed the process, read its answer (never more than an answer can have), and wait for its end."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as feed, contextlib.suppress(BrokenPipeError):
        feed.write(stdin)
    with process.stdout as output:
        raw = output.read(most_bytes(work) + 1)
    try:
        process.wait(AFTERWARDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(AFTERWARDS)
    return raw


def _stop(process: subprocess.Popen[bytes]) -> Proof:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        # 0: it had come to its own end already, and its answer is on the way.
        return "unknown" if process.wait(GRACE) == 0 else "stopped"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
        return "unknown"
    return "still_running"
