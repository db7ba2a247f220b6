"""Promises that every engine keeps because the template does: one answer per host, none late or false."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from omserver_master.backends import KINDS, ConnectionDown, make_backend
from omserver_master.backends.base import Backend, Flight, Proof, Reachability, Target
from omserver_master.contract.work import Answer, Run

HOSTS = [Target("1", "one"), Target("2", "two"), Target("3", "three")]
DONE = Answer("done", 0, b"out")


class FakeBackend(Backend):
    kind = "fake"

    def __init__(self, dispatch: Callable[[Flight], None]) -> None:
        super().__init__("fake", {})
        self.dispatch = dispatch

    def probe(self) -> Reachability:
        return Reachability(True)

    def _dispatch(self, flight: Flight) -> None:
        self.dispatch(flight)

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        return {"1": "stopped", "99": "stopped"}


def run(dispatch: Callable[[Flight], None], seconds: float = 0.2) -> list[tuple[str, Answer]]:
    backend = FakeBackend(dispatch)
    return list(backend.run(Run("true"), HOSTS, "h", time.monotonic() + seconds))


def test_each_host_gets_one_answer_as_it_comes() -> None:
    assert run(lambda flight: [flight.answer(i, DONE) for i in "312"]) == [
        ("3", DONE),
        ("1", DONE),
        ("2", DONE),
    ]


def test_the_first_answer_of_a_host_stands(caplog: pytest.LogCaptureFixture) -> None:
    def twice(flight: Flight) -> None:
        for host in "123":
            for rc in (0, 1):
                flight.answer(host, Answer("done", rc))

    assert [(host, answer.rc) for host, answer in run(twice)] == [("1", 0), ("2", 0), ("3", 0)]
    assert "host 1 gave another answer" in caplog.text


def test_a_host_that_nobody_asked_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    answers = run(lambda flight: [flight.answer(i, DONE) for i in ("9", "1", "2", "3")])
    assert {host for host, _ in answers} == {"1", "2", "3"}
    assert "'9'" in caplog.text


def test_at_the_deadline_the_missing_are_told_apart_by_evidence() -> None:
    def silence(flight: Flight) -> None:
        flight.answer("1", DONE)
        flight.reached("2", "it said so")

    began = time.monotonic()
    answers = dict(run(silence))
    assert time.monotonic() - began < 1
    assert [answers[host].state for host in "123"] == ["done", "timed_out", "unknown"]
    assert "it said so" in answers["2"].reason
    assert answers["3"].reason


def test_an_answer_that_is_there_at_the_deadline_counts() -> None:
    def late(flight: Flight) -> None:
        for host in "123":
            flight.answer(host, DONE)

    assert {answer.state for _, answer in run(late, seconds=-1)} == {"done"}


def test_a_connection_that_is_down_sends_nothing() -> None:
    def down(flight: Flight) -> None:
        raise ConnectionDown("gone")

    with pytest.raises(ConnectionDown, match="gone"):
        run(down)


def test_no_hosts_need_no_engine() -> None:
    def never(flight: Flight) -> None:
        raise AssertionError("dispatched")

    assert list(FakeBackend(never).run(Run("true"), [], "h", time.monotonic() + 5)) == []


def test_cancel_answers_for_each_host_and_wakes_the_reader() -> None:
    backend = FakeBackend(lambda flight: None)
    ends: list[tuple[str, Answer]] = []
    deadline = time.monotonic() + 1.5
    reader = threading.Thread(target=lambda: ends.extend(backend.run(Run("true"), HOSTS, "h", deadline)))
    reader.start()
    while "h" not in backend._flights:
        time.sleep(0.01)
    assert backend.cancel("h", HOSTS) == {"1": "stopped", "2": "unknown", "3": "unknown"}
    reader.join()
    assert ends[0][0] == "1"
    assert "cancelled" in ends[0][1].reason
    assert backend._flights == {}


def test_an_engine_that_cannot_find_its_work_again_says_unknown() -> None:
    answers = dict(FakeBackend(lambda flight: None).reattach("h", Run("true"), HOSTS, time.monotonic() + 1))
    assert {answer.state for answer in answers.values()} == {"unknown"}


def test_the_host_gets_less_time_than_we_wait() -> None:
    flight = Flight(Run("true", timeout=500), HOSTS, "h", time.monotonic() + 10)
    assert flight.host_seconds in (8, 9)
    assert Flight(Run("true", timeout=3), HOSTS, "h", time.monotonic() + 10).host_seconds == 3


def test_an_unknown_kind_and_a_missing_setting_are_refused() -> None:
    with pytest.raises(ValueError, match="telnet"):
        make_backend("telnet", "x", {})
    with pytest.raises(ValueError, match="config_dir"):
        make_backend("salt", "x", {})
    assert set(KINDS) >= {"salt", "local", "sim"}
