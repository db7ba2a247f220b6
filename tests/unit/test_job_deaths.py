"""A job is given up when too many workers died while it got no further, and for no other reason."""

from __future__ import annotations

from omserver_master.jobs.deaths import MOST_DEATHS, counted
from omserver_master.jobs.rollout import Progress


def test_workers_that_die_while_the_job_gets_no_further_are_counted() -> None:
    progress = counted(Progress(), 1, 0, idle=False)
    for attempt in range(2, MOST_DEATHS + 2):
        progress = counted(progress, attempt, 0, idle=False)
    assert progress.deaths == MOST_DEATHS


def test_a_job_that_gets_further_each_time_outlives_any_number_of_workers() -> None:
    progress = Progress()
    for attempt in range(2, 50):
        progress = counted(progress, attempt, attempt // 3, idle=False)
        assert progress.deaths < MOST_DEATHS


def test_a_worker_that_gave_the_job_back_did_not_die() -> None:
    progress = Progress(deaths=2, done=3, released=7)
    assert counted(progress, 8, 3, idle=False).deaths == 2
    assert counted(progress, 9, 3, idle=False).deaths == 3
    assert counted(progress, 8, 4, idle=False).deaths == 0


def test_a_job_that_waits_for_its_next_batch_does_nothing_to_a_worker() -> None:
    progress = Progress(over=17.0)
    for attempt in range(2, 50):
        progress = counted(progress, attempt, 4, idle=True)
    assert progress.deaths == 0


def test_what_is_counted_says_nothing_about_a_roll_out() -> None:
    assert not Progress(done=3, deaths=2, released=1).stands
    assert Progress(since=17.0, deaths=2).stands
