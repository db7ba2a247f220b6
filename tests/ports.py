"""Ports of the loopback address that nobody uses at this moment."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress

#: Below those that the kernel gives to whoever calls out: none of them is taken before its server listens.
_FIRST, _LAST = 20000, 32000
#: So many processes that run tests side by side have ports of their own.
_PROCESSES = 8
_given: set[int] = set()


def free_port() -> int:
    """One that no other test of this run is given."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
    while True:
        port = _FIRST + process + secrets.randbelow((_LAST - _FIRST) // _PROCESSES) * _PROCESSES
        if port in _given:
            continue
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            _given.add(port)
            return port
