"""A slice of the crowd and of the restart: how long they take in earnest is in docs/reliability.md."""

from __future__ import annotations

from collections import Counter

from bench.simsite import Load, sim_site
from campaign import crowd
from campaign.restart import JOBS, RULES, WELL, restart

LIMIT = 2


def test_every_host_of_an_odd_crowd_is_final_in_time() -> None:
    names = crowd.names(200, LIMIT)
    with sim_site(Load(), len(names), rules=crowd.rules(LIMIT), names=names) as site:
        found = crowd.run(site, LIMIT)
    assert found.good, found
    assert {begin: sum(ends.values()) for begin, ends in found.ends.items()} == Counter(
        name.partition("-")[0] for name in names
    )


def test_a_host_without_an_end_or_with_a_wrong_or_a_late_one_is_noticed() -> None:
    def row(name: str, state: str, finished: float = 1.0) -> dict[str, object]:
        return {"host": name, "state": state, "reason": "", "started": 0.0, "finished": finished}

    assert crowd.judge([row("well-1", "ok"), row("silent-1", "timed_out", 7.0)], 2, LIMIT).good
    for rows in (
        [row("well-1", "ok")],
        [row("well-1", "ok"), row("slow-1", "dispatched")],
        [row("well-1", "unknown"), row("slow-1", "ok")],
        [row("well-1", "ok"), row("silent-1", "timed_out", 7.1)],
    ):
        assert not crowd.judge(rows, 2, LIMIT).good


def test_a_master_killed_with_many_hosts_at_work_takes_new_work_and_loses_none() -> None:
    names = [WELL, *(f"busy-{number}" for number in range(20))]
    with sim_site(Load(), len(names), rules=RULES, names=names) as site:
        found = restart(site, follow=False)
    assert found.good, found
    assert found.still_at_work == JOBS * 20
