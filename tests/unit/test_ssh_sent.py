"""The kind ``ssh`` never says of work that was sent that it was not: others would send it again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from omserver_master.backends import Target
from omserver_master.backends.base import Flight
from omserver_master.backends.ssh.backend import Errand, SshBackend
from omserver_master.backends.ssh.lines import Lost, Said
from omserver_master.backends.ssh.reasons import NotReached
from omserver_master.backends.ssh.settings import Way
from omserver_master.contract.work import Run

HOST = Target("h1", "web-01", address="192.0.2.1")
WORK = Run("true")


class Cut(SshBackend):
    """Sends everything, loses the connection when ``cut`` is set, and reaches the host never again."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        super().__init__(name, settings)
        self.sent, self.cut, self.asked = threading.Event(), threading.Event(), threading.Event()

    async def _send(self, errand: Errand, way: Way, rest: bytes) -> Said:
        assert errand.may_send()
        self.sent.set()
        await asyncio.to_thread(self.cut.wait, 20)
        raise Lost("the cable was pulled")

    async def _talk(self, host: Target, stdin: bytes, most: int) -> Said:
        self.asked.set()
        raise NotReached("no route to it")


class Busy(Cut):
    """Its loop never gets to what it is given to do."""

    async def _all(self, flight: Flight, tasks: Sequence[Coroutine[Any, Any, None]]) -> None:
        for task in tasks:
            task.close()


Make = Callable[[type[Cut]], Cut]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    known = tmp_path / "known_hosts"
    known.write_text("")
    made: list[Cut] = []

    def make(kind: type[Cut]) -> Cut:
        made.append(kind("test", {"known_hosts": str(known)}))
        return made[-1]

    yield make
    for backend in made:
        backend.cut.set()
        backend.close()


def test_a_cancel_before_the_connection_was_lost_does_not_make_it_unsent(make: Make) -> None:
    backend = make(Cut)
    handle = backend.new_handle()
    answers = {}
    deadline = time.monotonic() + 3

    def read() -> None:
        answers.update(backend.run(WORK, [HOST], handle, deadline))

    reader = threading.Thread(target=read)
    reader.start()
    assert backend.sent.wait(20)
    assert backend.cancel(handle, [HOST]) == {HOST.id: "unknown"}
    backend.asked.clear()
    backend.cut.set()
    assert backend.asked.wait(20)
    assert backend.cancel(handle, [HOST]) == {HOST.id: "unknown"}
    reader.join(20)
    assert (answers[HOST.id].state, "The connection was lost" in answers[HOST.id].reason) == (
        "unknown",
        True,
    ), answers


def test_a_connection_lost_at_the_deadline_does_not_make_it_unsent(make: Make) -> None:
    backend = make(Cut)
    flight = Flight(WORK, [HOST], backend.new_handle(), time.monotonic() + 60)
    errand = Errand(flight, HOST)
    backend._errands[flight, HOST.id] = errand
    assert errand.may_send()
    flight.deadline = time.monotonic()
    asyncio.run(backend._regain(errand, "The connection was lost"))
    assert not errand.may_send()
    answer = backend._overdue(flight, HOST)
    assert (answer.state, answer.reason) == ("unknown", "The connection was lost.")
    assert backend.cancel(flight.handle, [HOST]) == {HOST.id: "unknown"}


def test_what_a_dead_worker_sent_counts_as_sent_from_the_start(make: Make) -> None:
    backend = make(Busy)
    handle = backend.new_handle()
    flight = Flight(WORK, [HOST], handle, time.monotonic() + 60)
    backend._collect(flight)
    assert backend.cancel(handle, [HOST]) == {HOST.id: "unknown"}
    backend._release(flight)
    answer = dict(backend.reattach(handle, WORK, [HOST], time.monotonic() + 0.2))[HOST.id]
    assert (answer.state, answer.reason) == ("unknown", "It was sent before a restart.")
