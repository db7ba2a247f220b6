"""Module code whose process dies under a job is begun anew, with what its hosts have answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from omserver_master.backends.base import Flight
from omserver_master.contract.work import Answer, Run
from omserver_master.jobs.execution import ChildSaid, JobRun
from omserver_master.jobs.revival import MOST_DEATHS
from tests.unit.test_job_run import (
    HOSTS,
    FakeCode,
    FakeRecorder,
    OneRoad,
    PlayedBackend,
    everybody,
    never,
    wait_until,
)

DIED = {"say": "crashed", "line": None, "reason": "The process was ended by SIGKILL.", "died": True}
OK = Answer("done", 0, b"hi")


class Mortal(FakeCode):
    """Asks every host for the same, *deaths* times dies instead of judging, and is begun anew."""

    def __init__(self, deaths: int, work: str = "true") -> None:
        super().__init__()
        self.deaths, self.work = deaths, work
        self.begun: list[Mapping[str, Answer]] = []

    def die(self) -> None:
        assert self.run is not None
        self.deaths -= 1
        self.run.inbox.put(ChildSaid(DIED))

    def send(self, order: Mapping[str, Any]) -> None:
        if self.deaths > 0:
            self.die()
        else:
            super().send(order)

    def again(self, answers: Mapping[str, Answer]) -> None:
        self.begun.append(dict(answers))
        assert self.run is not None
        asked = [host for host in HOSTS if host.name not in answers]
        items = [{"host": host.name, "work": Run(self.work).to_wire()} for host in asked]
        self.run.inbox.put(ChildSaid({"say": "work", "items": items}))
        for name, answer in answers.items():
            self.send({"host": name, "answer": answer.to_wire()})


def a_job(recorder: FakeRecorder, code: Mortal, play: Any, **options: Any) -> JobRun:
    given: dict[str, Any] = {"timeout": 5, "start_by": time.time() + 60, "again": code.again, **options}
    run = JobRun(HOSTS, code, OneRoad(PlayedBackend(play)), recorder, **given)
    code.start(run)
    return run


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


def test_answers_that_the_dead_code_had_are_judged_by_the_new_one(recorder: FakeRecorder) -> None:
    code = Mortal(1)
    a_job(recorder, code, everybody(OK)).run()
    assert recorder.states() == ["ok"] * 3
    assert [line for line in recorder.trail if line.startswith("dispatched")] == ["dispatched (1, 2, 3)"]
    assert code.begun[0]["h1"] == OK


def test_hosts_at_work_are_not_given_their_work_again(recorder: FakeRecorder) -> None:
    flights: list[Flight] = []
    code = Mortal(1)
    run = a_job(recorder, code, flights.append)
    thread = threading.Thread(target=run.run)
    thread.start()
    wait_until(lambda: bool(flights))
    code.die()
    wait_until(lambda: bool(code.begun))
    everybody(OK)(flights[0])
    thread.join(10)
    assert (recorder.states(), len(flights), code.begun) == (["ok"] * 3, 1, [{}])


def test_an_answer_that_comes_while_the_code_begins_anew_is_not_asked_for_again(
    recorder: FakeRecorder,
) -> None:
    flights: list[Flight] = []

    class Slow(Mortal):
        def again(self, answers: Mapping[str, Answer]) -> None:
            self.begun.append(dict(answers))
            everybody(OK)(flights[0])

        def send(self, order: Mapping[str, Any]) -> None:
            assert self.run is not None
            item = {"host": order["host"], "work": Run(self.work).to_wire(), "seq": 1}
            self.run.inbox.put(ChildSaid({"say": "work", "items": [item]}))
            super().send(order)

    code = Slow(1)
    run = a_job(recorder, code, flights.append)
    thread = threading.Thread(target=run.run)
    thread.start()
    wait_until(lambda: bool(flights))
    code.die()
    thread.join(10)
    assert (recorder.states(), len(flights), code.begun) == (["ok"] * 3, 1, [{}])


def test_code_that_asks_for_something_else_after_its_death_is_given_nothing(recorder: FakeRecorder) -> None:
    flights: list[Flight] = []
    code = Mortal(1, work="false")
    run = a_job(recorder, code, flights.append)
    thread = threading.Thread(target=run.run)
    thread.start()
    wait_until(lambda: bool(flights))
    code.die()
    thread.join(10)
    assert recorder.states() == ["unknown"] * 3
    assert "asked for something else" in recorder.endings[1].reason
    assert len(flights) == 1


def test_code_that_dies_each_time_is_given_up(recorder: FakeRecorder) -> None:
    code = Mortal(100)
    a_job(recorder, code, everybody(OK)).run()
    assert recorder.states() == ["failed"] * 3
    assert "SIGKILL" in recorder.endings[1].reason
    assert recorder.endings[1].stdout == b"hi"
    assert len(code.begun) <= MOST_DEATHS


def test_code_that_fails_by_itself_or_acts_by_itself_is_not_begun_anew(recorder: FakeRecorder) -> None:
    code = Mortal(0)
    run = a_job(recorder, code, never)
    run.inbox.put(ChildSaid({**DIED, "died": False}))
    run.run()
    assert (set(recorder.states()) <= {"unknown", "not_started"}, code.begun) == (True, [])
    other = FakeRecorder()
    run = a_job(other, code, never, direct=True)
    run.inbox.put(ChildSaid(DIED))
    run.run()
    assert (other.states(), code.begun) == (["unknown"] * 3, [])


def test_what_a_cancel_proves_counts_also_when_the_code_is_dead(recorder: FakeRecorder) -> None:
    dead = threading.Event()

    class Slow(PlayedBackend):
        def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
            dead.wait(10)
            return super()._cancel(handle, hosts)

    code = Mortal(0)
    run = JobRun(HOSTS, code, OneRoad(Slow(never)), recorder, timeout=5, start_by=time.time() + 60)
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    wait_until(lambda: bool(recorder.trail))
    recorder.cancel_asked = True
    run.wake()
    wait_until(lambda: "cancelling" in recorder.trail)
    run.inbox.put(ChildSaid(DIED))
    wait_until(run.inbox.empty)
    dead.set()
    thread.join(10)
    assert recorder.states() == ["cancelled"] * 3
