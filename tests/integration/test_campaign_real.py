"""A slice of the campaign's cancels on real hosts, and of its takeovers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from campaign.cancels import Cancel, Cancels, quantile
from campaign.place import Place
from campaign.realhosts import RealPlace
from campaign.takeovers import Takeovers

PACE = 0.1


@pytest.fixture(scope="module")
def here() -> Iterator[RealPlace]:
    with RealPlace(["local"], workers=1) as place:
        yield place


def test_what_is_cancelled_dies_soon_and_its_row_says_what_is_true(here: RealPlace) -> None:
    report = Cancels(here, 8, seed=3, at_once=4, latest=1.0).run()
    assert report.violations == []
    assert {one.phase for one in report.cancels} >= {"waits", "running"}
    assert 0 < len(report.seconds()) <= 8
    assert report.seconds()[-1] < 10


def test_a_row_that_is_not_true_is_noticed() -> None:
    def wrong(**changes: object) -> list[str]:
        told = {"state": "cancelled", "recorded": 11.0, "sent": 9.0, "began": 9.5, "alive": 10.4}
        told |= {"dead": 10.5} | changes
        return list(Cancel("ssh", "running", "a", "t", 1, acknowledged=10.0, **told).wrong())  # type: ignore[arg-type]

    assert wrong() == []
    assert wrong(dead=None) == ["its process lives"]
    assert wrong(alive=11.5, dead=12.0) == ["called stopped before it was"]
    assert wrong(state="not_started", reason="never") == ["`not_started`, and it began"]
    assert wrong(state="ok") == ["`ok`, and it did not come to its end"]
    assert wrong(finished=10.4) == ["`cancelled`, and it came to its end"]
    assert wrong(state="unknown") == ["`unknown` without a reason"]
    assert wrong(state="failed", reason="rc 9") == ["failed: rc 9"]
    assert wrong(began=10.2) == []
    assert wrong(began=10.2, sent=10.1)[0].startswith("it began after a cancel that was acknowledged")
    assert wrong(began=16.0, dead=17.0, recorded=18.0) == [
        "it began later than anything may that was sent before"
    ]


def test_the_jobs_of_workers_that_nobody_saw_die_are_taken_up() -> None:
    with Place("sqlite", pace=PACE, workers=1) as place:
        report = Takeovers(place, deaths=2, seed=5, workers=2, every=0.5).run()
    assert report.verdict.violations == []
    assert report.missing == []
    assert len(report.deaths) == 2
    assert all(len(death.held) > 1 for death in report.deaths)


def test_of_a_hundred_one_may_take_longer() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, part) for part in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert quantile([7.0], 0.99) == 7.0
