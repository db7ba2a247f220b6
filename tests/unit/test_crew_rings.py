"""Which worker is rung for a new job, and for news of one."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from typing import Any, cast

import pytest

from omserver_master.crew import Crew
from omserver_master.jobs.bell import ANY, OVER, PASS_ON


class Heard:
    """What workers said, for others than the crew itself."""

    def __init__(self) -> None:
        self.jobs: list[int] = []
        self.some = threading.Event()

    def __call__(self, jobs: Collection[int]) -> None:
        self.jobs += sorted(jobs)
        self.some.set()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def crew(heard: Heard) -> Iterator[Crew]:
    """Three workers' bells, without the workers; the crew listens."""
    made = Crew(3, cast(Any, None), heard)
    for worker in made._workers:
        worker._listener.start()
    yield made
    for worker in made._workers:
        worker._stopping.set()
        worker._far_end.ring()
        worker._listener.join(5)
        worker.bell.close()
        worker._far_end.close()


def rung(crew: Crew) -> list[set[int]]:
    return [worker._far_end.wait(0) for worker in crew._workers]


def test_one_worker_is_rung_for_a_new_job_and_each_in_its_turn(crew: Crew) -> None:
    found = []
    for _ in range(4):
        crew.ring()
        found.append(rung(crew).index({ANY}))
    assert found == [0, 1, 2, 0]
    assert rung(crew) == [set(), set(), set()]


def test_all_are_rung_for_news_of_a_job(crew: Crew) -> None:
    crew.ring(7)
    assert rung(crew) == [{7}, {7}, {7}]


def test_what_one_has_no_room_for_is_passed_on_to_the_others_once(crew: Crew, heard: Heard) -> None:
    full, *others = crew._workers
    full._far_end.ring(PASS_ON)
    full._far_end.ring(7 | OVER)
    assert heard.some.wait(5)
    assert [worker._far_end.wait(5) for worker in others] == [{PASS_ON}, {PASS_ON}]
    assert full._far_end.wait(0) == set()
    assert heard.jobs == [7 | OVER], "the calls that wait for a job have no use for it"
