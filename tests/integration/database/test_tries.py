"""Hosts that were off, tried again: once each time, on every database, however many workers look."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from people import add_person, furnish
from sqlalchemy import Engine, update

from omserver_master.jobs import again
from omserver_master.store import clock, connections, hosts, jobs, keys, results
from omserver_master.store.engine import begin, read
from omserver_master.store.schema import host_results
from omserver_master.store.schema import jobs as table

KID = "a" * 16
_MESSAGES = itertools.count()


class Site:
    """A person, hosts, and jobs that are over."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with begin(engine) as conn:
            self.hosts = list(furnish(conn).hosts.values())
            self.user = add_person(conn, "alice", "operator")
            keys.add_key(conn, KID, "omctl", "operator", None, b"sealed")

    def job(self, *states: str, until: float | None = 3600, ago: float = 7200, **changes: Any) -> int:
        """A failed job that ended *ago*, with a host in each of *states*."""
        job = {
            "module": "1001", "module_sha256": "a" * 64, "params": {}, "user_id": self.user, "user": "alice",
            "key_kid": KID, "message_id": f"m{next(_MESSAGES)}", "request_hash": "b" * 64,
            "repeat": "idempotent", "timeout": 60, "start_before": 2e9,
        }  # fmt: skip
        ends = dict(zip(self.hosts, states, strict=False))
        rows = [{"host_id": id_, "host": f"host-{id_}", "ip": ""} for id_ in ends]
        with begin(self.engine) as conn:
            number = jobs.add_job(conn, {**job, **changes}, rows)["id"]
            now = clock.now(conn)
            moment = None if until is None else now + until
            self.end(conn, number, ends, now - ago)
            conn.execute(update(table).where(table.c.id == number).values(until=moment))
        return number

    def end(self, conn: Any, job: int, states: dict[int, str], finished: float) -> None:
        conn.execute(update(table).where(table.c.id == job).values(state="failed", finished=finished))
        for host_id, state in states.items():
            mine = host_results.c.job_id == job, host_results.c.host_id == host_id
            conn.execute(update(host_results).where(*mine).values(state=state))

    def tries(self, job: int) -> list[list[int]]:
        """The hosts of each try of *job*."""
        with read(self.engine) as conn:
            found = again.tries_among(jobs.reruns_of(conn, job), job)
            return [[row["host_id"] for row in results.results(conn, each["id"])] for each in found]

    def over(self, job: int) -> bool:
        """Whether *job* is tried no more."""
        with read(self.engine) as conn:
            return job not in jobs.jobs_with_hosts_off(conn)


@pytest.fixture
def site(engine: Engine) -> Site:
    return Site(engine)


def test_only_the_hosts_that_were_off_are_tried_and_each_time_once(site: Site) -> None:
    job = site.job("ok", "unreachable", "unreachable", "timed_out")
    assert [again.try_again_all(site.engine) for _ in range(3)] == [1, 0, 0]
    assert site.tries(job) == [site.hosts[1:3]]
    with begin(site.engine) as conn:
        (first,) = jobs.reruns_of(conn, job)
        assert (first["rerun_of"], first["until"], first["state"]) == (job, None, "queued")
        ends = {site.hosts[1]: "ok", site.hosts[2]: "unreachable"}
        site.end(conn, first["id"], ends, clock.now(conn) - again.WAITS[1] - 1)
    assert again.try_again_all(site.engine) == 1
    assert site.tries(job)[1:] == [[site.hosts[2]]]


def test_workers_that_look_at_once_make_one_try(site: Site) -> None:
    jobs_off = [site.job("unreachable") for _ in range(3)]
    start = threading.Barrier(6)

    def look() -> None:
        start.wait(10)
        again.try_again_all(site.engine)

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [len(site.tries(job)) for job in jobs_off] == [1, 1, 1]


def test_there_is_no_try_without_need_before_its_time_or_after(site: Site) -> None:
    nobody_asked = site.job("unreachable", until=None)
    nobody_off = site.job("failed", "ok")
    too_late = site.job("unreachable", until=-1)
    too_early = site.job("unreachable", ago=again.WAITS[0] - 30)
    cancelled = site.job("unreachable", cancel_asked=True)
    assert again.try_again_all(site.engine) == 0
    assert [site.over(job) for job in (nobody_asked, nobody_off, too_late, too_early, cancelled)] == [
        True,
        True,
        True,
        False,
        True,
    ]


def test_it_ends_when_nobody_may_go_on_or_no_host_is_left(site: Site) -> None:
    retired = site.job("unreachable")
    with begin(site.engine) as conn:
        hosts.set_state(conn, site.hosts[0], "retired")
    assert again.try_again_all(site.engine) == 0
    assert site.over(retired)
    with begin(site.engine) as conn:
        hosts.set_state(conn, site.hosts[0], "in_service")
    revoked = site.job("unreachable")
    with begin(site.engine) as conn:
        keys.revoke_key(conn, "omctl")
    assert again.try_again_all(site.engine) == 0
    assert site.over(revoked)


def test_trying_is_stopped_once(site: Site) -> None:
    job = site.job("unreachable")
    with begin(site.engine) as conn:
        before = jobs.event_of(conn, job)
        assert [jobs.stop_trying(conn, job) for _ in range(2)] == [True, False]
        after = jobs.event_of(conn, job)
    assert before is not None
    assert after is not None
    assert after.number == before.number + 1
    assert site.over(job)


def test_a_try_is_for_the_machines_that_reach_the_hosts_by_now(site: Site) -> None:
    with begin(site.engine) as conn:
        for host_id, name, served in zip(site.hosts, "ab", (["gd-1"], ["sz-1"]), strict=False):
            way = connections.add_connection(conn, f"to-{name}", "local", {}, served)
            connections.link_host(conn, host_id, way, name)
    one = site.job("unreachable", machines=",old-1,")
    both = site.job("unreachable", "unreachable", machines=",old-1,")
    assert again.try_again_all(site.engine) == 2
    with read(site.engine) as conn:
        tries = [jobs.reruns_of(conn, job)[0]["machines"] for job in (one, both)]
    assert tries == [",gd-1,", ",old-1,"], "no machine reaches both: as the first job"
