"""A cancel that comes while a minion of the original is only being prepared: it never begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from omserver_master.backends import Target
from omserver_master.backends.base import Flight
from omserver_master.backends.func.talk import Talk
from omserver_master.contract.work import Run

#: What a minion of the original answers to the calls that come before the one that starts the work.
STEPS = ["omserver.run", "command.run", "copyfile.copyfile"]


class FakeMinion:
    """Has no module `omserver`; takes a folder and a file, and is then asked what became of it."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def call(self, method: str, arguments: Sequence[Any], seconds: float) -> Any:
        self.called.append(method)
        if method == "omserver.run":
            return ["REMOTE_ERROR", "func.minion.codes.ModuleNotFoundException", "no such module", ""]
        if method == "copyfile.copyfile":
            return 1
        if method == "async.command.run":
            return "job-1"
        return [0, "never\n" if "cancelled" in arguments[0] else "", ""]

    def close(self) -> None: ...


class FakeRoad:
    timeout, caller = 5.0, "us"

    def __init__(self) -> None:
        self.minion = FakeMinion()

    def connect(self, host: Target) -> FakeMinion:
        return self.minion


@pytest.fixture
def flight() -> Flight:
    return Flight(
        Run("true"), [Target("id-1", "one", "one")], f"{int(time.time()):x}-handle", time.monotonic() + 30
    )


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_what_is_called_off_in_time_is_never_begun(flight: Flight, done: int) -> None:
    road = FakeRoad()
    talk = Talk(road, flight, flight.missing[0], b"input")  # type: ignore[arg-type]
    for _ in range(done):
        talk.step(0.0)
    assert road.minion.called == STEPS[:done]
    assert talk.call_off()
    while talk.step(0.0) is not None:
        pass
    assert "async.command.run" not in road.minion.called
    heard = flight.take(1)
    assert heard is not None
    assert (heard[0], heard[1].state) == ("id-1", "not_started")


def test_what_has_begun_is_not_called_off(flight: Flight) -> None:
    road = FakeRoad()
    talk = Talk(road, flight, flight.missing[0], b"input")  # type: ignore[arg-type]
    for _ in range(4):
        talk.step(0.0)
    assert road.minion.called == [*STEPS, "async.command.run"]
    assert not talk.call_off()
