"""The doorbell: who is woken by what."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from omserver_master.jobs.bell import ANY, OVER, Bell, Changes


@pytest.fixture
def pair() -> Iterator[tuple[Bell, Bell]]:
    left, right = Bell.pair()
    yield left, right
    left.close()
    right.close()


def test_all_rings_that_are_there_are_heard_at_once(pair: tuple[Bell, Bell]) -> None:
    left, right = pair
    for job in (ANY, 7, 7 | OVER, 9):
        left.ring(job)
    assert right.wait(1.0) == {ANY, 7, 7 | OVER, 9}
    assert right.wait(0.0) == set()


def test_a_wait_is_ended_by_who_waits(pair: tuple[Bell, Bell]) -> None:
    left, right = pair
    timer = threading.Timer(0.05, right.end_wait)
    timer.start()
    began = time.monotonic()
    assert right.wait(20.0) == set()
    assert time.monotonic() - began < 10
    right.end_wait()  # before the wait: that counts, once
    left.ring(3)
    assert right.wait(20.0) in ({3}, set())
    timer.join()


def test_who_waits_for_the_end_is_not_woken_before() -> None:
    changes = Changes()
    with changes.of(7) as change, changes.of(7, end=True) as end, changes.of(8) as other:
        changes.announce([7])
        assert (change.is_set(), end.is_set(), other.is_set()) == (True, False, False)
        change.clear()
        changes.announce([7 | OVER])
        assert (change.is_set(), end.is_set(), other.is_set()) == (True, True, False)


def test_a_ring_for_any_job_wakes_everybody() -> None:
    changes = Changes()
    with changes.of(7) as change, changes.of(8, end=True) as end:
        changes.announce()
        assert change.is_set()
        assert end.is_set()


def test_nobody_is_kept_who_waits_no_more() -> None:
    changes = Changes()
    with changes.of(7):
        pass
    assert not changes._waiting
    changes.announce([7])
    assert not changes._waiting
