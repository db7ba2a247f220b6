"""Invented hosts, for tests of our own job engine. What works here says nothing about a real engine.

The hosts live in a process of their own (``fleet.py``), behind a Unix socket, so that a worker can die and
find its work again. Settings: ``socket``, the path of that socket.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from ...contract.work import Answer
from ..base import Backend, ConnectionDown, Flight, Proof, Reachability, Target, no_output
from ..options import Setting

#: Seconds for one exchange with the process of the invented hosts.
TIMEOUT = 2.0


class SimBackend(Backend):
    """One process of invented hosts."""

    kind = "sim"
    SETTINGS = (
        Setting(
            "socket",
            "The path of the invented hosts' socket.",
            "虚拟主机套接字的路径。",
            "path",
            required=True,
        ),
    )

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._lines: dict[int, socket.socket] = {}

    def probe(self) -> Reachability:
        """Up when the process answers."""
        try:
            with closing(self._connect()):
                return Reachability(True)
        except ConnectionDown as down:
            return Reachability(False, str(down))

    def _dispatch(self, flight: Flight) -> None:
        self._converse(flight, "run")

    def _collect(self, flight: Flight) -> None:
        self._converse(flight, "collect")

    def _release(self, flight: Flight) -> None:
        line = self._lines.pop(id(flight), None)
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _silent(self, flight: Flight, host: Target) -> Answer:
        return no_output("unreachable", "The invented host did not take the work.")

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        names = {_sim_name(host): host.id for host in hosts}
        with closing(self._connect()) as line, line.makefile("r") as replies:
            _send(line, {"do": "cancel", "handle": handle, "hosts": list(names)})
            proofs: dict[str, Proof] = json.loads(replies.readline() or "{}")
        return {names[name]: proof for name, proof in proofs.items()}

    def _converse(self, flight: Flight, order: str) -> None:
        line = self._connect()
        self._lines[id(flight)] = line
        hosts = {_sim_name(host): host.id for host in flight.missing}
        wanted = {
            "do": order,
            "handle": flight.handle,
            "hosts": list(hosts),
            "work": flight.work.to_wire(),
            "seconds": flight.host_seconds,
        }
        _send(line, wanted)
        threading.Thread(target=_listen, args=(line, flight, hosts), daemon=True).start()

    def _connect(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(TIMEOUT)
        try:
            line.connect(self.settings["socket"])
        except OSError as error:
            line.close()
            raise ConnectionDown(f"The process of the invented hosts does not answer: {error}.") from error
        line.settimeout(None)
        return line


def _sim_name(host: Target) -> str:
    return host.remote_id or host.name


def _send(line: socket.socket, message: Mapping[str, Any]) -> None:
    line.sendall(json.dumps(message).encode() + b"\n")


def _listen(line: socket.socket, flight: Flight, hosts: Mapping[str, str]) -> None:
    """Feed *flight* until the process or the flight's end closes the line."""
    with closing(line), suppress(OSError), line.makefile("r") as replies:
        for reply in replies:
            _hear(json.loads(reply), flight, hosts)


def _hear(heard: Mapping[str, Any], flight: Flight, hosts: Mapping[str, str]) -> None:
    # What a stranger calls itself may be an id of ours.
    host_id = hosts.get(heard["host"], f"stranger {heard['host']}")
    if "answer" not in heard:
        flight.reached(host_id, "the invented host took it")
        return
    try:
        flight.answer(host_id, Answer.from_wire(heard["answer"]))
    except (ValueError, TypeError, AttributeError):
        flight.answer(host_id, no_output("unknown", "What the invented host answered is not understood."))
