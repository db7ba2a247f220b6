"""A job that another worker left in the middle: what the engine can tell of it, and what if it can't."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from omserver_master.backends.base import Backend, ConnectionDown, Flight, Reachability
from omserver_master.contract.work import Answer, Run
from omserver_master.jobs.board import LeftAt, Seat
from omserver_master.jobs.dispatch import digest
from omserver_master.jobs.execution import ChildSaid, JobRun
from tests.unit.test_job_run import HOSTS, FakeCode, FakeRecorder, OneRoad, everybody

OK = Answer("done", 0, b"from before")
UNKNOWN = Answer("unknown", reason="can't tell")
NEVER = Answer("not_started", reason="never sent")


class Left(Backend):
    """An engine that was given work by a worker that is gone: *said* is what it answers about that."""

    kind = "left"

    def __init__(self, said: Any, proof: str = "unknown") -> None:
        super().__init__("left", {})
        self.said, self.proof = said, proof
        self.asked: list[str] = []
        self.sent: list[str] = []
        self.stopped: list[str] = []

    def probe(self) -> Reachability:
        return Reachability(True)

    def _dispatch(self, flight: Flight) -> None:
        self.sent.append(flight.handle)
        everybody(Answer("done", 0, b"again"))(flight)

    def _collect(self, flight: Flight) -> None:
        self.asked.append(flight.handle)
        assert {host.remote_id for host in flight.hosts.values()} == {"old-1", "old-2", "old-3"}
        self.said(flight)

    def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
        self.stopped.append(handle)
        return {host.id: self.proof for host in hosts}


def left_seats(work: str = digest(Run("true")), connection: int | None = 1) -> list[Seat]:
    return [
        Seat(
            host,
            "dispatched",
            handle="jid-1",
            connection_id=connection,
            sent=True,
            step=1,
            left_at=LeftAt(connection, f"old-{host.id}", "jid-1", work, time.monotonic() + 20),
        )
        for host in HOSTS
    ]


def take_up(backend: Backend, repeat: str, seats: list[Seat] | None = None) -> FakeRecorder:
    recorder, code = FakeRecorder(), FakeCode()
    options: dict[str, Any] = {"timeout": 5, "start_by": time.time() - 5, "repeat": repeat}
    run = JobRun(seats or left_seats(), code, OneRoad(backend), recorder, **options)
    code.start(run)
    run.run()
    return recorder


@pytest.mark.parametrize("repeat", ["read_only", "idempotent", "once"])
def test_results_are_taken_up_by_the_handle_and_nothing_is_sent_again(repeat: str) -> None:
    backend = Left(everybody(OK))
    recorder = take_up(backend, repeat)
    assert recorder.states() == ["ok"] * 3
    assert recorder.endings[1].stdout == b"from before"
    assert (backend.asked, backend.sent) == (["jid-1"], [])
    assert recorder.end == ("succeeded", "after() saw all of it")


@pytest.mark.parametrize(
    ("repeat", "said", "proof", "states", "sent"),
    [
        ("read_only", UNKNOWN, "unknown", "ok", 1),
        ("read_only", NEVER, "unknown", "ok", 1),
        ("idempotent", NEVER, "unknown", "ok", 1),
        ("idempotent", UNKNOWN, "stopped", "ok", 1),
        ("idempotent", UNKNOWN, "unknown", "unknown", 0),
        ("idempotent", UNKNOWN, "still_running", "unknown", 0),
        ("once", UNKNOWN, "stopped", "unknown", 0),
        ("once", NEVER, "stopped", "not_started", 0),
    ],
)
def test_where_the_engine_cannot_tell_the_meaning_of_a_repeat_decides(
    repeat: str, said: Answer, proof: str, states: str, sent: int
) -> None:
    backend = Left(everybody(said), proof)
    recorder = take_up(backend, repeat)
    assert recorder.states() == [states] * 3
    assert bool(backend.sent) == bool(sent)
    assert "jid-1" not in backend.sent
    assert recorder.end is not None
    assert recorder.end[0] == {"ok": "succeeded", "unknown": "interrupted"}.get(states, "failed")


@pytest.mark.parametrize(
    ("repeat", "said", "proof", "state", "back"),
    [
        ("idempotent", UNKNOWN, "stopped", "cancelled", False),
        ("read_only", UNKNOWN, "unknown", "unknown", False),
        ("idempotent", NEVER, "unknown", "not_started", True),
    ],
)
def test_a_try_before_one_that_was_not_sent_is_not_forgotten(
    repeat: str, said: Answer, proof: str, state: str, back: bool
) -> None:
    """Its host began the first: to call it `not_started` when the job is cancelled would be a lie."""

    class DownThen(Left):
        def _dispatch(self, flight: Flight) -> None:
            recorder.cancel_asked = True
            raise ConnectionDown("gone")

    recorder, code = FakeRecorder(), FakeCode()
    options: dict[str, Any] = {"timeout": 20, "start_by": time.time() + 60, "repeat": repeat}
    run = JobRun(left_seats(), code, OneRoad(DownThen(everybody(said), proof)), recorder, **options)
    code.start(run)
    began = time.monotonic()
    run.run()
    assert recorder.states() == [state] * 3
    assert any(line.startswith("not sent") for line in recorder.trail) == back
    assert time.monotonic() - began < 10


def test_a_failure_that_the_engine_tells_is_a_failure_and_no_reason_to_repeat() -> None:
    backend = Left(everybody(Answer("done", 3)))
    assert take_up(backend, "read_only").states() == ["failed"] * 3
    assert backend.sent == []


def test_a_module_that_asks_for_something_else_is_not_given_the_old_answers() -> None:
    backend = Left(everybody(OK))
    recorder = take_up(backend, "read_only", left_seats(work="another"))
    assert recorder.states() == ["unknown"] * 3
    assert "asked for something else" in recorder.endings[1].reason
    assert backend.asked == []


def test_a_way_that_is_gone_leaves_once_work_unknown() -> None:
    backend = Left(everybody(OK))
    recorder = take_up(backend, "once", left_seats(connection=None))
    assert recorder.states() == ["unknown"] * 3
    assert recorder.endings[1].reason == "The way to it is there no more, or not on this machine."


def test_a_control_point_that_is_down_is_waited_for() -> None:
    tries = []

    def down_at_first(flight: Flight) -> None:
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionDown("just starting")
        everybody(OK)(flight)

    assert take_up(Left(down_at_first), "once").states() == ["ok"] * 3


def test_a_cancel_that_was_asked_meanwhile_reaches_what_the_other_worker_sent() -> None:
    backend = Left(lambda flight: None, "stopped")
    recorder, code = FakeRecorder(), FakeCode()
    recorder.cancel_asked = True
    options: dict[str, Any] = {"timeout": 30, "start_by": time.time() + 5, "repeat": "once"}
    run = JobRun(left_seats(), code, OneRoad(backend), recorder, **options)
    code.run = run  # the module's code says nothing at all
    run.run()
    assert recorder.states() == ["cancelled"] * 3
    assert backend.stopped == ["jid-1"]


def test_a_host_that_did_its_first_step_was_started_though_its_second_never_came() -> None:
    seats = left_seats()
    for seat in seats:
        seat.step = 2
    code = FakeCode()
    recorder = FakeRecorder()
    backend = Left(everybody(NEVER))
    run = JobRun(seats, code, OneRoad(backend), recorder, timeout=5, start_by=time.time() - 5, repeat="once")
    items = [{"host": host.name, "seq": 2, "work": Run("true").to_wire()} for host in HOSTS]
    code.run = run
    run.inbox.put(ChildSaid({"say": "work", "items": items}))
    run.run()
    assert recorder.states() == ["failed"] * 3
    assert recorder.endings[1].reason.startswith("Cut off after step 1:")
    assert backend.sent == []


def test_a_cancelled_job_that_is_taken_up_keeps_what_its_hosts_answered() -> None:
    """The cancel is seen first; then the engine tells of step one, and the module asks for step two."""

    class TwoSteps(FakeCode):
        def send(self, order: Mapping[str, Any]) -> None:
            assert self.run is not None
            item = {"host": order["host"], "seq": 2, "work": Run("echo second").to_wire()}
            self.run.inbox.put(ChildSaid({"say": "work", "items": [item]}))

    recorder, code = FakeRecorder(), TwoSteps()
    recorder.cancel_asked = True
    backend = Left(everybody(OK), "unknown")
    run = JobRun(left_seats(), code, OneRoad(backend), recorder, timeout=5, start_by=time.time() - 5)
    run._tick()
    while run.inbox.qsize() < len(HOSTS):  # the engine has said that it can't prove anything
        time.sleep(0.01)
    code.start(run)
    run.run()
    assert recorder.states() == ["cancelled"] * 3
    assert recorder.endings[1].stdout == b"from before"
