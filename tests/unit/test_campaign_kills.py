"""What the campaign tells of the deaths that it caused."""

from __future__ import annotations

from campaign.kills import PHASES, recoveries, table
from omserver_master.failpoints import PLACES


def test_every_phase_is_a_place_in_the_code_or_seen_by_the_hosts() -> None:
    assert {place for place in PHASES.values() if place} <= set(PLACES)


def test_deaths_are_counted_by_kind_and_phase() -> None:
    told = table({"worker/intent": 3, "worker/queued": 2, "master/intent": 1}).splitlines()
    assert told[0].startswith("| killed | before the submit commits | queued | intent |")
    assert told[2:] == [
        "| master | 0 | 0 | 1 | 0 | 0 | 0 | 1 |",
        "| worker | 0 | 2 | 3 | 0 | 0 | 0 | 5 |",
        "| all | 0 | 2 | 4 | 0 | 0 | 0 | 6 |",
    ]


def test_recoveries_are_told_as_a_distribution() -> None:
    assert "(200): half within 1.0 s, 99 of 100 within 2.0 s, all within 9.0 s" in recoveries(
        [1.0] * 197 + [2.0, 2.0, 9.0]
    )
    assert recoveries([]).startswith("no job")
