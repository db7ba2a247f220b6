"""The run of one job that goes over its hosts in batches, with a hand-written child, recorder and engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from omserver_master.backends.base import ConnectionDown, Flight
from omserver_master.contract.work import Answer, Run
from omserver_master.jobs.board import Seat
from omserver_master.jobs.execution import JobRun
from omserver_master.jobs.outbox import Outbox
from omserver_master.jobs.rollout import Rollout
from omserver_master.jobs.verify import Verified
from tests.unit.test_job_run import (
    HOSTS,
    FakeCode,
    FakeRecorder,
    OneRoad,
    PlayedBackend,
    a_run,
    everybody,
    never,
)

OK = Answer("done", 0)


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


def in_batches(
    recorder: FakeRecorder, play: Any, paused_by: str | None = None, **options: Any
) -> tuple[JobRun, FakeCode]:
    rollout = Rollout(options or None, [(host.id, "pending") for host in HOSTS], patience=60)
    rollout.start(paused_by, time.time())
    backend = play if isinstance(play, PlayedBackend) else PlayedBackend(play)
    return a_run(recorder, backend, rollout=rollout)


def until(there: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_each_batch_is_a_dispatch_and_is_written_down_before(recorder: FakeRecorder) -> None:
    run, code = in_batches(recorder, everybody(OK), batch="1")
    code.start(run)
    run.run()
    assert recorder.states() == ["ok"] * 3
    assert recorder.trail == [
        "running: Batch 2 of 3 starts when batch 1 ends.",
        "dispatched (1,)",
        "running: Batch 3 of 3 starts when batch 2 ends.",
        "dispatched (2,)",
        "running: ",
        "dispatched (3,)",
    ]


def test_too_many_failures_end_what_has_not_begun(recorder: FakeRecorder) -> None:
    run, code = in_batches(recorder, everybody(Answer("done", 1)), batch="1", stop_after="1")
    code.start(run)
    run.run()
    assert recorder.states() == ["failed", "not_started", "not_started"]
    assert recorder.endings[2].reason == "Stopped after 1 failure (limit 1)."
    assert recorder.end is not None
    assert recorder.end[0] == "failed"
    assert recorder.end[1].startswith("Stopped after 1 failure (limit 1).")


def test_what_turns_out_not_sent_after_the_stop_is_not_started(recorder: FakeRecorder) -> None:
    class LateToKnow(PlayedBackend):
        def _dispatch(self, flight: Flight) -> None:
            run._rollout._failures = 1  # as if a host of before had failed meanwhile
            until(lambda: "running: Stopped after 1 failure (limit 1)." in recorder.trail)
            raise ConnectionDown("gone")

    run, code = in_batches(recorder, LateToKnow(never), batch="2", stop_after="1")
    code.start(run)
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert "not sent (1, 2)" in recorder.trail
    assert recorder.endings[1].reason == "Stopped after 1 failure (limit 1)."


def test_a_pause_holds_nothing_that_has_begun() -> None:
    outbox = Outbox(OneRoad(PlayedBackend(never)), lambda reason: None)
    seats = [Seat(HOSTS[0], sent=True), Seat(HOSTS[1])]
    for seat in seats:
        outbox.put(seat, Run("true"))
    outbox.hold_back()
    assert outbox.held == [2]
    assert [group.host_ids for group in outbox.take()] == [(1,)]
    outbox.let_go([1, 2, 3])
    assert [group.host_ids for group in outbox.take()] == [(2,)]


def test_a_question_pauses_the_job_until_somebody_answers(recorder: FakeRecorder) -> None:
    run, code = in_batches(recorder, everybody(OK), first=[2], canary=["h2"], ask=True)
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    until(lambda: "paused: Waits for a go-ahead after the canary." in recorder.trail)
    run.wake()
    assert sorted(recorder.endings) == [2]
    recorder.paused_by = None
    run.wake()
    thread.join(10)
    assert recorder.states() == ["ok"] * 3
    assert recorder.trail[-1] == "dispatched (1, 3)"


class Told:
    """Keeps what it is told, which must have been written down just before."""

    def __init__(self, recorder: FakeRecorder) -> None:
        self.recorder = recorder
        self.heard: list[Any] = []

    def stands(self, state: str, paused_by: str, reason: str, hosts: Any) -> None:
        assert self.recorder.trail[-1] == f"{state}: {reason}"
        self.heard.append((state, paused_by, hosts))


def test_how_the_job_stands_is_told_once_it_is_written_down(recorder: FakeRecorder) -> None:
    run, code = in_batches(recorder, everybody(OK), first=[2], canary=["h2"], ask=True)
    run._notices = told = Told(recorder)  # type: ignore[assignment]
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    until(lambda: len(told.heard) == 2)
    recorder.paused_by = None
    run.wake()
    thread.join(10)
    assert recorder.states() == ["ok"] * 3
    assert [heard[:2] for heard in told.heard[:3]] == [("running", ""), ("paused", ""), ("running", "")]
    assert [heard[2] for heard in told.heard[:2]] == [{"open": 3, "ended": 0}, {"open": 2, "ended": 1}]


def test_a_job_without_batches_that_is_paused_before_it_begins_sends_nothing(recorder: FakeRecorder) -> None:
    recorder.paused_by = "alice"
    run, code = in_batches(recorder, everybody(OK), paused_by="alice")
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    until(lambda: len(run._outbox.held) == 3)
    assert recorder.trail == ["paused: Paused by alice."]
    recorder.paused_by = None
    run.wake()
    thread.join(10)
    assert recorder.trail[1:] == ["running: ", "dispatched (1, 2, 3)"]


def test_a_pause_before_anything_began_does_not_outlive_the_time_to_start(recorder: FakeRecorder) -> None:
    recorder.paused_by = "alice"
    run, code = in_batches(recorder, everybody(OK), paused_by="alice", batch="1")
    run._start_by = time.time() + 0.3
    code.start(run)
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert recorder.end is not None
    assert recorder.end[0] == "expired"


def test_what_has_begun_does_not_expire_while_it_waits_for_its_batch(recorder: FakeRecorder) -> None:
    run, code = in_batches(recorder, everybody(OK), batch="2", wait=1)
    run._start_by = time.time() + 0.5
    code.start(run)
    run.run()
    assert recorder.states() == ["ok"] * 3


class Judge:
    """A checker that says at once what the test wants."""

    def __init__(self, run: JobRun, why_not: str | None) -> None:
        self.run, self.why_not, self.asked = run, why_not, 0

    def check(self, host: Any) -> None:
        self.asked += 1
        if self.why_not is not None:
            self.run.inbox.put(Verified(host.id, self.why_not))

    def close(self) -> None: ...


@pytest.mark.parametrize(("why_not", "state"), [("", "ok"), ("it answered 503", "failed")])
def test_a_host_is_verified_before_its_end_is_written(
    recorder: FakeRecorder, why_not: str, state: str
) -> None:
    run, code = in_batches(recorder, everybody(Answer("done", 0, b"out")), batch="3")
    run._checker = judge = Judge(run, why_not)  # type: ignore[assignment]
    code.start(run)
    run.run()
    assert judge.asked == 3
    assert recorder.states() == [state] * 3
    assert (recorder.endings[1].reason, recorder.endings[1].stdout) == (why_not, b"out")


def test_a_cancel_leaves_what_was_done_and_says_that_it_was_not_verified(recorder: FakeRecorder) -> None:
    run, code = in_batches(recorder, everybody(OK), batch="2")
    run._checker = Judge(run, None)  # type: ignore[assignment]
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    until(lambda: len(run._verifying) == 2)
    recorder.cancel_asked = True
    run.wake()
    thread.join(10)
    assert recorder.states() == ["ok", "ok", "not_started"]
    assert recorder.endings[1].reason == "The cancel came before it was verified."


def test_a_cancel_ends_what_is_held(recorder: FakeRecorder) -> None:
    run, code = in_batches(recorder, never, batch="1")
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    until(lambda: "dispatched (1,)" in recorder.trail)
    recorder.cancel_asked = True
    run.wake()
    thread.join(10)
    assert recorder.states() == ["cancelled", "not_started", "not_started"]
