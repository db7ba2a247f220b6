"""P4: a sealed request that does nothing, against RPyC's bare echo; one large result sealed and opened."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

from omserver_client import connect
from omserver_client.envelope import CHALLENGE_BYTES, CLIENT, OVERHEAD, seal, unseal
from omserver_client.keyfile import Key, new_key
from omserver_client.messages import LIFE, Reply, Request
from omserver_master.caller import CallerKey
from omserver_master.wire import Doors, HardenedServer
from tests.system import System

from .pairs import Compared, Work, compare

#: Calls that one turn is made of, and the bytes of the large result.
CALLS = 2000
LARGE = 1_000_000


def measure(pairs: int, only: str = "") -> list[Compared]:
    """All comparisons of this row whose name has *only* in it."""
    key = new_key("bench")
    found = []
    with (
        _child(_serve_echo) as echo_port,
        _child(_serve_sealed, key) as port,
        closing(rpyc.connect("127.0.0.1", echo_port)) as bare,
        closing(connect("127.0.0.1", port, key, session="x" * 43)) as sealed,
    ):
        size = len(Request("no.op", {}, time.time() + LIFE, session="x" * 43).to_json()) + OVERHEAD
        bare_side = ("bare RPyC echo of that size", _rate(bare.root.echo, os.urandom(size)))
        name = "sealed request that does nothing, open connection, clear TCP"
        if only in name:
            side = ("wire of the master", _rate(sealed.call, "no.op"))
            found.append(_compared(name, side, bare_side, pairs, 0.6))
        name = "the same to a whole master: who am I, with key and session looked up in SQLite"
        if only in name:
            with _master() as call:
                side = ("master", _rate(call, "auth.whoami", calls=CALLS // 5))
                found.append(_compared(name, side, bare_side, pairs, None))
    name = "1 MB sealed and opened"
    if only in name:
        found.append(_large(name, key, pairs))
    return found


def _compared(name: str, ours: tuple[str, Work], bare: tuple[str, Work], pairs: int, target: Any) -> Compared:
    return compare(name, ours, bare, pairs=pairs, unit="calls/s", target=target, more=True)


def _rate(call: Callable[..., object], argument: Any, calls: int = CALLS) -> Work:
    def run() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            call(argument)
        return calls / (time.perf_counter() - began)

    return run


def _large(name: str, key: Key, pairs: int) -> Compared:
    """Against 5 ms, so that the ratio is how much of them it takes."""
    text, challenge = secrets.token_bytes(LARGE), secrets.token_bytes(CHALLENGE_BYTES)

    def both() -> float:
        began = time.perf_counter()
        unseal(key, 1, CLIENT, challenge, seal(key, 1, CLIENT, challenge, text))
        return time.perf_counter() - began

    limit = ("the limit", lambda: 0.005)
    return compare(name, ("envelope", both), limit, pairs=pairs, target=1.0)


@contextmanager
def _master() -> Iterator[Callable[[str], object]]:
    with tempfile.TemporaryDirectory(prefix="omserver-bench-") as folder:
        system = System(Path(folder) / "home", workers=1)
        with closing(system.start()), closing(system.client()) as client:
            yield client.call


@contextmanager
def _child(serve: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """*serve* in a process of its own; the port that it listens on."""
    context = multiprocessing.get_context("spawn")
    told: Queue[int] = context.Queue()
    process: BaseProcess = context.Process(target=serve, args=(told, *arguments), daemon=True)
    process.start()
    try:
        yield told.get(timeout=30)
    finally:
        process.terminate()
        process.join(10)


class _Echo(rpyc.Service):  # type: ignore[misc]  # rpyc has no types
    """RPyC as it comes."""

    def exposed_echo(self, text: bytes) -> bytes:
        return text


def _serve_echo(told: Queue[int]) -> None:
    server = ThreadedServer(_Echo, hostname="127.0.0.1", port=0)
    told.put(server.port)
    server.start()


class _Ring:
    """One key, in memory."""

    def __init__(self, key: Key) -> None:
        self._found = key, CallerKey(key.kid_hex, key.name, "operator", 1)

    def lookup(self, kid: bytes, session: str | None = None) -> tuple[Key, CallerKey] | None:
        return self._found if kid == self._found[0].kid else None


def _serve_sealed(told: Queue[int], key: Key) -> None:
    doors = Doors(lambda request, _: Reply(request.id, ok={}), lambda *_: False, lambda *_: None)
    server = HardenedServer("127.0.0.1", 0, doors, _Ring(key))
    told.put(server.port)
    server.start()
