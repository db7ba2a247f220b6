"""The run of one job, with a hand-written module child, recorder and connections; the engine is real code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from omserver_master.backends.base import Backend, ConnectionDown, Flight, Reachability
from omserver_master.contract.work import Answer, Run
from omserver_master.errors import CancelAsked, PauseAsked
from omserver_master.jobs import dispatch
from omserver_master.jobs.board import Ending, JobHost, Route, Seat
from omserver_master.jobs.dispatch import Group
from omserver_master.jobs.execution import LOOK_FOR_NEWS, ChildSaid, JobRun
from omserver_master.jobs.ports import News, Way

HOSTS = [JobHost(n, f"h{n}", f"10.0.0.{n}", "Debian", "debian", (Route(1, f"m{n}"),)) for n in (1, 2, 3)]


class FakeRecorder:
    def __init__(self) -> None:
        self.endings: dict[int, Ending] = {}
        self.trail: list[str] = []
        self.end: tuple[str, str] | None = None
        self.cancel_asked = False
        self.paused_by: str | None = None
        self.slept = 0.0
        """Seconds that the process sleeps after it has written down the next dispatch."""

    def dispatched(self, group: Any) -> float:
        self.trail.append(f"dispatched {group.host_ids}")
        slept, self.slept = self.slept, 0.0
        return time.monotonic() - slept

    def not_sent(self, host_ids: Any) -> None:
        self.trail.append(f"not sent {tuple(host_ids)}")

    def ended(self, host_id: int, ending: Ending) -> None:
        assert host_id not in self.endings, "a host got two endings"
        self.endings[host_id] = ending

    def flush(self, *, force: bool = False) -> None: ...

    def explain(self, reason: str) -> None:
        self.trail.append(f"explain {reason}")

    def release(self, reason: str) -> None:
        self.trail.append(f"release {reason}")

    def stand(self, state: str, reason: str, progress: Mapping[str, Any], *, ask: bool = False) -> None:
        self.trail.append(f"{state}: {reason}")
        if ask:
            self.paused_by = ""

    def news(self) -> News:
        return News(self.cancel_asked, self.paused_by)

    def cancelling(self) -> None:
        self.trail.append("cancelling")

    def finish(self, state: str, reason: str) -> None:
        self.end = (state, reason)

    def states(self) -> list[str]:
        return [self.endings[n].state for n in sorted(self.endings)]


class FakeCode:
    """Plays the child: hands every host the same Run, ends it by its return code."""

    def __init__(self) -> None:
        self.run: JobRun | None = None
        self.killed = False
        self.answered: set[str] = set()

    def start(self, run: JobRun) -> None:
        self.run = run
        items = [{"host": host.name, "work": Run("true").to_wire()} for host in HOSTS]
        run.inbox.put(ChildSaid({"say": "work", "items": items}))

    def send(self, order: Mapping[str, Any]) -> None:
        assert self.run is not None
        state = "ok" if order["answer"]["rc"] == 0 else "failed"
        end = {"say": "end", "host": order["host"], "end": {"state": state, "reason": "", "text": ""}}
        self.run.inbox.put(ChildSaid(end))
        self.answered.add(order["host"])
        if len(self.answered) == len(HOSTS):
            self.run.inbox.put(ChildSaid({"say": "note", "text": "after() saw all of it"}))
            self.run.inbox.put(ChildSaid({"say": "done"}))

    def kill(self) -> None:
        self.killed = True


class PlayedBackend(Backend):
    kind = "played"

    def __init__(self, play: Any) -> None:
        super().__init__("played", {})
        self.play = play

    def probe(self) -> Reachability:
        return Reachability(True)

    def _dispatch(self, flight: Flight) -> None:
        threading.Thread(target=self.play, args=(flight,), daemon=True).start()

    def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
        return {host.id: "stopped" for host in hosts}


class OneRoad:
    def __init__(self, backend: Backend | str) -> None:
        self.backend_ = backend

    def choose(self, host: JobHost, but: Any = ()) -> Way | str:
        if 1 in but:
            return "There is no other."
        return self.backend_ if isinstance(self.backend_, str) else Way(1, self.backend_)

    def backend(self, connection_id: int) -> Backend | None:
        return None if isinstance(self.backend_, str) else self.backend_

    def why_down(self, connection_id: int) -> str:
        return ""


def everybody(answer: Answer) -> Any:
    def play(flight: Flight) -> None:
        for host in list(flight.hosts.values()):
            flight.answer(host.id, answer)

    return play


def never(flight: Flight) -> None: ...


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


def a_run(
    recorder: FakeRecorder, backend: Backend | str, code: FakeCode | None = None, **options: Any
) -> tuple[JobRun, FakeCode]:
    code = code or FakeCode()
    options = {"timeout": 5, "start_by": time.time() + 60} | options
    return JobRun(HOSTS, code, OneRoad(backend), recorder, **options), code


def test_every_host_gets_one_ending_and_the_job_succeeds(recorder: FakeRecorder) -> None:
    run, code = a_run(recorder, PlayedBackend(everybody(Answer("done", 0, b"hi"))))
    code.start(run)
    run.run()
    assert recorder.states() == ["ok"] * 3
    assert recorder.end == ("succeeded", "after() saw all of it")
    assert recorder.trail[0] == "dispatched (1, 2, 3)"


def test_equal_work_goes_out_as_one_dispatch_and_a_bad_return_code_fails_the_host(
    recorder: FakeRecorder,
) -> None:
    run, code = a_run(recorder, PlayedBackend(everybody(Answer("done", 3, b"", b"no"))))
    code.start(run)
    run.run()
    assert recorder.states() == ["failed"] * 3
    assert recorder.end == ("failed", "after() saw all of it")
    assert len([line for line in recorder.trail if line.startswith("dispatched")]) == 1
    assert recorder.endings[1].stderr == b"no"


def test_a_host_that_is_not_reached_never_comes_back_to_the_module(recorder: FakeRecorder) -> None:
    run, code = a_run(recorder, PlayedBackend(everybody(Answer("unreachable", reason="down"))))
    code.start(run)
    run.run()
    assert recorder.states() == ["unreachable"] * 3


def test_a_connection_that_is_down_leaves_hosts_waiting_and_then_expires_the_job(
    recorder: FakeRecorder,
) -> None:
    run, code = a_run(recorder, "Salt master demo is down.", start_by=time.time() + 0.5)
    code.start(run)
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert recorder.end is not None
    assert recorder.end[0] == "expired"
    assert any("demo is down" in line and "3 host" in line for line in recorder.trail)


def test_what_was_proved_not_sent_waits_and_is_sent_again(recorder: FakeRecorder) -> None:
    class DownOnce(PlayedBackend):
        tries = 0

        def _dispatch(self, flight: Flight) -> None:
            self.tries += 1
            if self.tries == 1:
                raise ConnectionDown("gone")
            super()._dispatch(flight)

    run, code = a_run(recorder, DownOnce(everybody(Answer("done", 0))))
    code.start(run)
    run.run()
    assert recorder.states() == ["ok"] * 3
    assert "not sent (1, 2, 3)" in recorder.trail


def test_a_worker_that_slept_after_writing_down_a_dispatch_writes_it_down_anew(
    recorder: FakeRecorder,
) -> None:
    recorder.slept = dispatch.LATEST_SEND + 1
    run, code = a_run(recorder, PlayedBackend(everybody(Answer("done", 0))))
    code.start(run)
    run.run()
    everything = "(1, 2, 3)"
    assert recorder.trail[:3] == [f"{what} {everything}" for what in ("dispatched", "not sent", "dispatched")]
    assert recorder.states() == ["ok"] * 3


def test_cancel_stops_what_runs_and_says_what_was_proved(recorder: FakeRecorder) -> None:
    run, code = a_run(recorder, PlayedBackend(never))
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    while not recorder.trail:
        time.sleep(0.01)
    recorder.cancel_asked = True
    run.wake()
    thread.join(10)
    assert recorder.states() == ["cancelled"] * 3
    assert recorder.end == ("cancelled", "")


def test_a_cancel_ends_at_once_what_waits_for_its_next_step(recorder: FakeRecorder) -> None:
    class TwoSteps(FakeCode):
        def send(self, order: Mapping[str, Any]) -> None:
            assert self.run is not None
            road.backend_ = "The way is down."
            item = {"host": order["host"], "seq": 2, "work": Run("true").to_wire()}
            self.run.inbox.put(ChildSaid({"say": "work", "items": [item]}))
            self.answered.add(order["host"])
            recorder.cancel_asked = len(self.answered) == len(HOSTS)

    road = OneRoad(PlayedBackend(everybody(Answer("done", 0, b"first"))))
    code = TwoSteps()
    run = JobRun(HOSTS, code, road, recorder, timeout=5, start_by=time.time() + 60)
    code.start(run)
    began = time.monotonic()
    run.run()
    assert recorder.states() == ["cancelled"] * 3
    assert recorder.endings[1].stdout == b"first"
    assert time.monotonic() - began < 8


def test_code_that_dies_before_any_dispatch_leaves_its_hosts_not_started(recorder: FakeRecorder) -> None:
    run, _ = a_run(recorder, PlayedBackend(never))
    run.inbox.put(ChildSaid({"say": "crashed", "line": None, "reason": "killed by SIGKILL"}))
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert "SIGKILL" in recorder.endings[1].reason
    assert recorder.end is not None
    assert recorder.end[0] == "failed"


def test_code_that_dies_after_an_answer_fails_the_host_and_keeps_the_answer(recorder: FakeRecorder) -> None:
    class Dying(FakeCode):
        def send(self, order: Mapping[str, Any]) -> None:
            assert self.run is not None
            self.run.inbox.put(ChildSaid({"say": "crashed", "line": 7, "reason": "ValueError: x"}))

    code = Dying()
    run, _ = a_run(recorder, PlayedBackend(everybody(Answer("done", 0, b"out"))), code)
    code.start(run)
    run.run()
    assert recorder.endings[1].state == "failed"
    assert "line 7" in recorder.endings[1].reason
    assert recorder.endings[1].stdout == b"out"


def test_code_that_acts_by_itself_is_noted_first_and_unknown_when_it_dies(recorder: FakeRecorder) -> None:
    run, _ = a_run(recorder, PlayedBackend(never), direct=True)
    run.inbox.put(ChildSaid({"say": "crashed", "line": None, "reason": "killed by SIGKILL"}))
    run.run()
    assert recorder.trail[0] == "dispatched (1, 2, 3)"
    assert recorder.states() == ["unknown"] * 3


@pytest.mark.parametrize(
    "message",
    [
        {"say": "end", "host": "h1", "end": {"state": "splendid"}},
        {"say": "end", "host": "h1"},
        {"say": "work", "items": [{"host": "h1", "work": {"kind": "nonsense"}}]},
        {"say": "direct", "results": 7},
    ],
)
def test_code_that_talks_rubbish_ends_its_hosts_and_nothing_else(
    recorder: FakeRecorder, message: dict[str, Any]
) -> None:
    run, _ = a_run(recorder, PlayedBackend(never))
    run.inbox.put(ChildSaid(message))
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert "not understood" in recorder.endings[1].reason


def test_nothing_begins_after_its_time_to_start_although_the_way_is_open(recorder: FakeRecorder) -> None:
    run, code = a_run(recorder, PlayedBackend(everybody(Answer("done", 0))), start_by=time.time() - 1)
    code.start(run)
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert recorder.end == ("expired", "")
    assert not recorder.trail


def test_nothing_is_sent_once_the_cancel_was_committed_though_no_bell_told_of_it(
    recorder: FakeRecorder,
) -> None:
    def refuse(group: Any) -> float:
        recorder.cancel_asked = True
        raise CancelAsked

    recorder.dispatched = refuse  # type: ignore[method-assign]
    backend = PlayedBackend(everybody(Answer("done", 0)))
    run, code = a_run(recorder, backend)
    code.start(run)
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert recorder.end == ("cancelled", "")


def test_nothing_begins_once_a_pause_was_committed_though_no_bell_told_of_it(recorder: FakeRecorder) -> None:
    asked: list[Any] = []

    def refuse(group: Any) -> float:
        asked.append(group)
        if len(asked) == 1:
            recorder.paused_by = "alice"
        if recorder.paused_by is not None:
            raise PauseAsked
        return time.monotonic()

    recorder.dispatched = refuse  # type: ignore[method-assign]
    run, code = a_run(recorder, PlayedBackend(everybody(Answer("done", 0))))
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    wait_until(lambda: "paused: Paused by alice." in recorder.trail)
    assert (len(asked), asked[0].begins, recorder.endings) == (1, True, {})
    recorder.paused_by = None
    run.wake()
    thread.join(10)
    assert recorder.states() == ["ok"] * 3


def test_what_turns_out_not_to_be_sent_after_a_cancel_ends_at_once(recorder: FakeRecorder) -> None:
    down = threading.Event()

    class DownMeanwhile(PlayedBackend):
        def _dispatch(self, flight: Flight) -> None:
            recorder.cancel_asked = True
            run.wake()
            wait_until(lambda: "cancelling" in recorder.trail)
            down.set()
            raise ConnectionDown("gone")

        def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
            down.wait(10)
            wait_until(lambda: any(line.startswith("not sent") for line in recorder.trail))
            return {}

    run, code = a_run(recorder, DownMeanwhile(never))
    code.start(run)
    began = time.monotonic()
    run.run()
    assert recorder.states() == ["not_started"] * 3
    assert recorder.end == ("cancelled", "")
    assert time.monotonic() - began < 10


def test_what_waits_to_be_sent_is_held_back_by_a_cancel() -> None:
    told: list[Any] = []
    sent: list[Flight] = []
    seats = [Seat(host) for host in HOSTS]
    group = Group(Run("true"), 1, PlayedBackend(sent.append), seats, "handle")
    group.waits = True
    dispatch.cancel([group], told.append)
    wait_until(lambda: len(told) == 3)
    assert {stopped.proof for stopped in told} == {"not_started"}
    dispatch._fly(group, time.monotonic() + 5, told.append)
    assert (len(told), sent) == (3, [])


def test_a_cancel_asks_again_after_what_was_under_way_to_the_engine() -> None:
    """The first word of the engine is that it knows nothing of it: the send had begun and not arrived."""

    class Slow(PlayedBackend):
        proofs: ClassVar = ["not_started", "stopped"]

        def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
            proof = self.proofs.pop(0)
            return {host.id: proof for host in hosts}

    told: list[Any] = []
    group = Group(Run("true"), 1, Slow(never), [Seat(HOSTS[0])], "handle", begun=time.monotonic())
    dispatch.cancel([group], told.append)
    wait_until(lambda: bool(told))
    assert [stopped.proof for stopped in told] == ["stopped"]


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_host_that_answered_before_the_cancel_keeps_its_own_end(recorder: FakeRecorder) -> None:
    class Slow(FakeCode):
        def send(self, order: Mapping[str, Any]) -> None:
            recorder.cancel_asked = True
            threading.Timer(LOOK_FOR_NEWS + 0.5, super().send, [order]).start()

    code = Slow()
    run, _ = a_run(recorder, PlayedBackend(everybody(Answer("done", 0))), code)
    code.start(run)
    run.run()
    assert "cancelling" in recorder.trail
    assert recorder.states() == ["ok"] * 3


@pytest.mark.parametrize("first", ["the answer", "the proof"])
@pytest.mark.parametrize(
    ("proof", "state"), [("unknown", "timed_out"), ("stopped", "cancelled"), ("still_running", "unknown")]
)
def test_a_host_whose_time_was_over_ends_so_where_the_cancel_proves_nothing(
    recorder: FakeRecorder, first: str, proof: str, state: str
) -> None:
    handed, told = threading.Event(), threading.Event()

    class Overdue(PlayedBackend):
        def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
            if first == "the answer":
                handed.wait(10)
            else:
                told.set()
            return {host.id: proof for host in hosts}

    def play(flight: Flight) -> None:
        recorder.cancel_asked = True
        run.wake()
        wait_until(lambda: "cancelling" in recorder.trail)
        if first == "the proof":
            told.wait(10)
            wait_until(lambda: bool(recorder.endings) or len(run._unproved) == len(HOSTS))
        for host in list(flight.hosts.values()):
            flight.answer(host.id, Answer("timed_out", None, b"so far", reason="Its time was over."))
        wait_until(lambda: bool(recorder.endings) or len(run._overdue) == len(HOSTS))
        handed.set()

    run, code = a_run(recorder, Overdue(play))
    code.start(run)
    run.run()
    assert recorder.states() == [state] * 3
    if state == "timed_out":
        assert (recorder.endings[1].reason, recorder.endings[1].stdout) == ("Its time was over.", b"so far")


def test_an_engine_that_breaks_leaves_unknown_hosts_with_a_reason(recorder: FakeRecorder) -> None:
    class Broken(PlayedBackend):
        def _dispatch(self, flight: Flight) -> None:
            raise RuntimeError("boom")

    run, code = a_run(recorder, Broken(never))
    code.start(run)
    run.run()
    assert recorder.states() == ["unknown"] * 3
    assert "boom" in recorder.endings[2].reason


def test_a_stopped_worker_gives_the_job_back_with_its_hosts_where_they_are(recorder: FakeRecorder) -> None:
    run, code = a_run(recorder, PlayedBackend(never))
    code.start(run)
    thread = threading.Thread(target=run.run)
    thread.start()
    while not recorder.trail:
        time.sleep(0.01)
    run.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert (recorder.states(), recorder.end) == ([], None)
    assert recorder.trail[-1] == "release Its worker was stopped; the next one takes it up."
