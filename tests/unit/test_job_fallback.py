"""Whether a host goes on over its next way: what decides is what a repeat means, and what is proved."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from omserver_master.backends.base import Backend, ConnectionDown, Flight, Reachability
from omserver_master.contract.work import Answer
from omserver_master.jobs.board import JobHost, Route
from omserver_master.jobs.execution import JobRun
from omserver_master.jobs.ports import Way
from tests.unit.test_job_run import HOSTS, FakeCode, FakeRecorder, everybody, never

TWO_WAYS = [JobHost(h.id, h.name, h.ip, h.os, h.os_family, (Route(1, "a"), Route(2, "b"))) for h in HOSTS]


class Played(Backend):
    """An engine that does as told; *proof* is what its cancel proves."""

    kind = "played"

    def __init__(self, play: Any, proof: str = "unknown") -> None:
        super().__init__("played", {})
        self.play, self.proof, self.flights = play, proof, 0

    def probe(self) -> Reachability:
        return Reachability(True)

    def _dispatch(self, flight: Flight) -> None:
        self.flights += 1
        self.play(flight)

    def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
        return {host.id: self.proof for host in hosts}


class TwoRoads:
    """The first way goes down as soon as anything was sent over it, if *dies*."""

    def __init__(self, first: Played, *, dies: bool = True) -> None:
        self.first, self.second = first, Played(everybody(Answer("done", 0, b"second")))
        self.dies = dies

    def choose(self, host: JobHost, but: Collection[int] = ()) -> Way | str:
        if 1 not in but and not self.why_down(1):
            return Way(1, self.first)
        return "none" if 2 in but else Way(2, self.second, () if 1 in but else ("first: down",))

    def backend(self, connection_id: int) -> Backend | None:
        return self.first if connection_id == 1 else self.second

    def why_down(self, connection_id: int) -> str:
        return "first: went down" if connection_id == 1 and self.dies and self.first.flights else ""


def run(roads: TwoRoads, repeat: str, timeout: float = 8) -> FakeRecorder:
    recorder, code = FakeRecorder(), FakeCode()
    job = JobRun(TWO_WAYS, code, roads, recorder, timeout=timeout, start_by=time.time() + 60, repeat=repeat)
    code.start(job)
    job.run()
    return recorder


UNKNOWN = Answer("unknown", reason="the way broke")


def test_read_only_work_moves_on_without_waiting_for_an_answer() -> None:
    roads = TwoRoads(Played(never))
    began = time.monotonic()
    assert run(roads, "read_only").states() == ["ok"] * 3
    assert time.monotonic() - began < 7
    assert roads.second.flights == 1


@pytest.mark.parametrize("proof", ["stopped", "not_started"])
def test_idempotent_work_moves_on_once_its_first_try_is_proved_over(proof: str) -> None:
    roads = TwoRoads(Played(everybody(UNKNOWN), proof))
    assert run(roads, "idempotent").states() == ["ok"] * 3


@pytest.mark.parametrize("proof", ["unknown", "still_running"])
def test_idempotent_work_ends_where_nothing_is_proved(proof: str) -> None:
    roads = TwoRoads(Played(everybody(UNKNOWN), proof))
    recorder = run(roads, "idempotent")
    assert recorder.states() == ["unknown"] * 3
    assert recorder.endings[1].reason == "the way broke"
    assert roads.second.flights == 0


def test_once_work_never_moves_on_after_it_was_sent() -> None:
    roads = TwoRoads(Played(everybody(UNKNOWN), "stopped"))
    assert run(roads, "once").states() == ["unknown"] * 3
    assert roads.second.flights == 0


def test_what_was_proved_never_sent_moves_on_whatever_it_is() -> None:
    roads = TwoRoads(Played(everybody(Answer("not_started", reason="never left"))))
    assert run(roads, "once").states() == ["ok"] * 3


@pytest.mark.parametrize("repeat", ["read_only", "idempotent", "once"])
def test_a_host_that_is_silent_on_a_way_that_works_is_not_moved(repeat: str) -> None:
    roads = TwoRoads(Played(everybody(Answer("unreachable", reason="silent")), "stopped"), dies=False)
    assert run(roads, repeat).states() == ["unreachable"] * 3
    assert roads.second.flights == 0


def test_a_way_that_turns_out_to_be_down_at_the_send_is_passed_over_by_any_work() -> None:
    def down(flight: Flight) -> None:
        raise ConnectionDown("just gone")

    roads = TwoRoads(Played(down))
    recorder = run(roads, "once")
    assert recorder.states() == ["ok"] * 3
    assert "not sent (1, 2, 3)" in recorder.trail


def test_an_answer_over_a_way_that_was_left_changes_nothing() -> None:
    late: list[Flight] = []
    roads = TwoRoads(Played(late.append))
    second = roads.second.play

    def then_the_first_wakes(flight: Flight) -> None:
        everybody(Answer("done", 9, b"first"))(late[0])
        time.sleep(0.3)
        second(flight)

    roads.second.play = then_the_first_wakes
    recorder = run(roads, "read_only")
    assert [recorder.endings[n].stdout for n in (1, 2, 3)] == [b"second"] * 3
