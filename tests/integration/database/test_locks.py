"""Locks and limits: all of a job's locks at once or none, released with its end, one holder at a time."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from people import add_person, furnish
from sqlalchemy import Connection, Engine, select, update

from omserver_master.jobs import claiming, settling, waiting
from omserver_master.store import clock, jobs, leases, locks, pauses, results, schema, workers
from omserver_master.store.engine import begin, read, transact
from omserver_master.store.limits import Limits

_MESSAGES = itertools.count()
NO_LIMITS = Limits()


class Queue:
    """A site with two people and five hosts; submits, claims and ends jobs."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with begin(engine) as conn:
            self.hosts = list(furnish(conn).hosts.values())
            self.people = {name: add_person(conn, name, "operator") for name in ("alice", "bob")}

    def submit(self, *names: str, **options: Any) -> int:
        with begin(self.engine) as conn:
            return self.insert(conn, *names, **options)

    def insert(
        self,
        conn: Connection,
        *names: str,
        mode: str = "queue",
        hosts: Sequence[int] = (),
        user: str = "alice",
    ) -> int:
        job = {
            "module": "1001", "module_sha256": "a" * 64, "params": {}, "user_id": self.people[user],
            "user": user, "key_kid": "k" * 16, "message_id": f"l{next(_MESSAGES)}", "request_hash": "b" * 64,
            "repeat": "once", "timeout": 60, "start_before": 2e9, "locks": list(names), "lock_mode": mode,
        }  # fmt: skip
        chosen = hosts or self.hosts[:1]
        rows = [{"host_id": id_, "host": f"host-{id_}", "ip": "192.0.2.1"} for id_ in chosen]
        return int(jobs.add_job(conn, job, rows)["id"])

    def claim(self, worker: str = "w1", most: Limits = NO_LIMITS) -> int | None:
        row = transact(self.engine, lambda conn: claiming.claim(conn, worker, 30, most))
        return None if row is None else row["id"]

    def end(self, job_id: int) -> None:
        job = self.job(job_id)
        with begin(self.engine) as conn:
            jobs.finish_job(conn, job_id, job["attempt"], "failed")

    def job(self, job_id: int) -> Any:
        with read(self.engine) as conn:
            return jobs.job_row(conn, job_id)

    def rows(self, job_id: int) -> list[tuple[str, str]]:
        with read(self.engine) as conn:
            return [(row["state"], row["reason"]) for row in results.results(conn, job_id)]

    def locks(self) -> set[tuple[int, str, bool]]:
        columns = schema.job_locks.c.job_id, schema.job_locks.c.name, schema.job_locks.c.held_since
        with read(self.engine) as conn:
            return {(id_, name, since is not None) for id_, name, since in conn.execute(select(*columns))}


@pytest.fixture
def queue(engine: Engine) -> Queue:
    return Queue(engine)


def test_a_lock_goes_from_job_to_job_and_younger_jobs_do_not_wait_for_it(queue: Queue) -> None:
    first, second, other = queue.submit("deploy"), queue.submit("deploy"), queue.submit()
    assert (queue.claim(), queue.claim(), queue.claim()) == (first, other, None)
    assert queue.locks() == {(first, "deploy", True), (second, "deploy", False)}
    queue.end(first)
    assert queue.locks() == {(second, "deploy", False)}
    assert queue.claim() == second
    queue.end(second)
    assert queue.locks() == set()


def test_a_job_gets_all_its_locks_or_none_and_nobody_overtakes_it(queue: Queue) -> None:
    first, both, late = queue.submit("a"), queue.submit("a", "b"), queue.submit("b")
    assert (queue.claim(), queue.claim()) == (first, None)
    assert queue.locks() == {(first, "a", True), (both, "a", False), (both, "b", False), (late, "b", False)}
    queue.end(first)
    assert (queue.claim(), queue.claim()) == (both, None)
    queue.end(both)
    assert queue.claim() == late


def test_a_job_whose_worker_died_keeps_its_locks_and_is_taken_over(queue: Queue) -> None:
    first, second = queue.submit("deploy"), queue.submit("deploy")
    queue.claim()
    with begin(queue.engine) as conn:
        assert leases.give_up_leases(conn, "w1") == 1
    assert queue.claim("w2") == first
    assert queue.job(first)["attempt"] == 2
    assert queue.claim("w2") is None
    queue.end(first)
    assert queue.claim("w2") == second


def test_a_lock_on_each_host_lets_jobs_on_other_hosts_run(queue: Queue) -> None:
    one, two, three = queue.hosts[:3]
    first = queue.submit("host", hosts=[one, two])
    second, third = queue.submit("host", hosts=[two]), queue.submit("host", hosts=[three])
    assert (queue.claim(), queue.claim(), queue.claim()) == (first, third, None)
    queue.end(first)
    assert queue.claim() == second


def test_skip_leaves_out_the_hosts_that_are_locked(queue: Queue) -> None:
    one, two, three = queue.hosts[:3]
    first = queue.submit("host", hosts=[one, two])
    second = queue.submit("host", hosts=[two, three], mode="skip")
    assert (queue.claim(), queue.claim()) == (first, second)
    locked = ("skipped", f"Host is locked by job {first}.")
    assert sorted(queue.rows(second)) == sorted([locked, ("pending", "")])
    assert (second, f"host:{two}", True) not in queue.locks()
    third = queue.submit("host", hosts=[one, two, three], mode="skip")
    assert queue.claim() is None
    assert (queue.job(third)["state"], queue.locks() & {(third, f"host:{one}", False)}) == (
        "succeeded",
        set(),
    )


@pytest.mark.parametrize("mode", ["skip", "refuse"])
def test_who_does_not_wait_for_a_name_ends_with_the_reason(queue: Queue, mode: str) -> None:
    first = queue.submit("deploy")
    queue.claim()
    second, other = queue.submit("deploy", "else", mode=mode), queue.submit()
    assert queue.claim() == other
    reason = f"Lock deploy is held by job {first}."
    assert (queue.job(second)["state"], queue.job(second)["reason"]) == ("failed", reason)
    assert queue.rows(second) == [("not_started", reason)]
    assert queue.locks() == {(first, "deploy", True)}


def test_a_job_that_waits_for_a_lock_is_cancelled_by_whoever_looks_next(queue: Queue) -> None:
    queue.submit("deploy")
    queue.claim()
    claimed, swept = queue.submit("deploy"), queue.submit("deploy")
    for job_id, look in ((claimed, queue.claim), (swept, lambda: settling.settle_all(queue.engine, "w1"))):
        with begin(queue.engine) as conn:
            jobs.ask_cancel(conn, job_id)
        look()
        assert queue.job(job_id)["state"] == "cancelled"
        assert queue.rows(job_id) == [("not_started", settling.CANCELLED)]
    assert len(queue.locks()) == 1


def test_a_job_that_waited_too_long_says_for_what(queue: Queue) -> None:
    first, second = queue.submit("deploy"), queue.submit("deploy")
    queue.claim()
    with begin(queue.engine) as conn:
        late = update(schema.jobs).where(schema.jobs.c.id == second)
        conn.execute(late.values(start_before=clock.now(conn) - 1))
    assert settling.settle_all(queue.engine, "w1") == 1
    reason = f"Its time to start was over. Lock deploy is held by job {first}."
    assert (queue.job(second)["state"], queue.job(second)["reason"]) == ("expired", reason)
    assert queue.rows(second) == [("not_started", reason)]
    assert queue.locks() == {(first, "deploy", True)}


def test_many_claimers_never_give_a_name_twice(queue: Queue) -> None:
    submitted = {queue.submit(*names) for names in [("a",), ("b",), ("a", "b"), ("b", "c"), ("c", "a")] * 4}
    held: set[str] = set()
    guard, twice, done = threading.Lock(), [], []

    def work(worker: str) -> None:
        while len(done) < len(submitted):
            job_id = queue.claim(worker)
            if job_id is None:
                continue
            names = set(queue.job(job_id)["locks"])
            with guard:
                twice.extend(held & names)
                held.update(names)
            with guard:
                held.difference_update(names)
            queue.end(job_id)
            done.append(job_id)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, f"w{number}") for number in range(4)]:
            future.result(60)
    assert not twice
    assert sorted(done) == sorted(submitted)


def test_a_claim_sees_a_lock_that_was_given_away_while_it_waited(queue: Queue) -> None:
    """A job that came in between, and does not wait in line, is seen by the claim that began before it."""
    first = queue.submit("deploy")
    with ThreadPoolExecutor(1) as pool:
        with begin(queue.engine) as conn:
            locks._hold(conn, first)
            claim = pool.submit(queue.claim)
            with pytest.raises(TimeoutError):
                claim.result(0.5)
            faster = queue.insert(conn, "deploy", mode="skip")
            assert locks.take_free(conn, faster) == {}
        assert claim.result(10) == faster
    assert [name for name, held in ((n, h) for _, n, h in queue.locks()) if held] == ["deploy"]
    assert queue.claim() is None


def test_limits_hold_for_a_person_and_in_all(queue: Queue) -> None:
    mine = [queue.submit() for _ in range(3)]
    other, last = queue.submit(user="bob"), queue.submit(user="bob")
    two_each = Limits(per_person=2)
    assert [queue.claim(most=two_each) for _ in range(3)] == [mine[0], mine[1], other]
    assert queue.claim(most=Limits(in_all=3)) is None
    assert queue.claim(most=Limits(per_person=2, in_all=4)) == last
    assert queue.claim(most=two_each) is None
    with begin(queue.engine) as conn:
        leases.give_up_leases(conn, "w1")
    assert queue.claim("w2", two_each) == mine[0]  # what was begun goes on
    queue.end(mine[0])
    assert [queue.claim("w3", two_each) for _ in range(2)] == [mine[1], mine[2]]


@pytest.mark.parametrize("most", [Limits(per_person=3), Limits(in_all=3)])
def test_limits_hold_when_many_claim_at_once(queue: Queue, most: Limits) -> None:
    for _ in range(12):
        queue.submit()
    with ThreadPoolExecutor(4) as pool:
        claims = [pool.submit(queue.claim, f"w{number}", most) for number in range(12)]
        assert len([claim for claim in claims if claim.result(30) is not None]) == 3


def why(queue: Queue, job_id: int, most: Limits = NO_LIMITS) -> str:
    with read(queue.engine) as conn:
        found = waiting.reasons(conn, [queue.job(job_id)], most)
    return found[job_id].text if found else ""


def at_work(queue: Queue, number: int) -> None:
    with begin(queue.engine) as conn:
        for name in range(number):
            workers.beat(conn, f"w{name}")


def test_what_a_job_waits_for_is_said_as_it_is_now(queue: Queue) -> None:
    first, second, third = queue.submit("deploy"), queue.submit("deploy"), queue.submit(user="bob")
    assert {why(queue, job_id) for job_id in (first, second, third)} == {"No worker is running."}
    at_work(queue, 1)
    assert (why(queue, first), why(queue, third)) == ("", "")
    assert why(queue, second) == f"Lock deploy is for job {first} first, which waits for it too."
    queue.claim()
    assert re.fullmatch(
        rf"Lock deploy is held by job {first} \(alice, since \d\d:\d\d UTC\)\.", why(queue, second)
    )
    assert why(queue, third, Limits(in_all=1)) == "1 job runs already, the most allowed."
    queue.end(first)
    assert why(queue, second) == ""
    queue.claim()
    mine = queue.submit()
    assert why(queue, mine, Limits(per_person=1)) == "alice already runs 1 job, the most allowed."
    assert (why(queue, first), why(queue, second)) == ("", "")


def test_a_lock_on_a_host_is_said_with_its_name(queue: Queue) -> None:
    at_work(queue, 1)
    first, second = queue.submit("host"), queue.submit("host")
    queue.claim()
    assert why(queue, second).startswith(f"Host web-01 is locked by job {first} (alice, since ")


def test_busy_workers_are_counted_and_so_are_the_jobs_before(queue: Queue) -> None:
    at_work(queue, 2)
    for _ in range(2 * claiming.MOST_JOBS):
        queue.submit()
        queue.claim()
    first, second = queue.submit(), queue.submit()
    assert why(queue, first) == "All 2 workers are busy; 0 jobs are before it."
    assert why(queue, second) == "All 2 workers are busy; 1 job is before it."


def test_of_a_new_job_it_is_said_by_what_was_known_a_moment_ago(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def new(job_id: int) -> list[str]:
        with read(queue.engine) as conn:
            return [
                why.text for why in waiting.reasons(conn, [queue.job(job_id)], NO_LIMITS, new=True).values()
            ]

    monkeypatch.setattr(waiting, "_LATELY", 3600.0)
    monkeypatch.setattr(waiting, "_CREWS", WeakKeyDictionary())  # a database serves many tests
    job_id = queue.submit()
    assert new(job_id) == ["No worker is running."]
    at_work(queue, 1)
    assert new(job_id) == [], "that nobody is there is never taken from memory"
    with begin(queue.engine) as conn:
        workers.forget_worker(conn, "w0", 3600)
    assert new(job_id) == []
    monkeypatch.setattr(waiting, "_LATELY", 0.0)
    assert new(job_id) == ["No worker is running."]


def test_a_job_whose_worker_died_says_so(queue: Queue) -> None:
    at_work(queue, 2)
    job_id = queue.submit()
    queue.claim()
    with begin(queue.engine) as conn:
        leases.give_up_leases(conn, "w1")
    assert re.fullmatch(
        r"Its worker has not answered since .* UTC; another one takes it up\.", why(queue, job_id)
    )
    queue.claim("w0")
    assert why(queue, job_id) == ""
    with begin(queue.engine) as conn:
        jobs.set_reason(conn, job_id, 2, "salt: no answer since 10:02. 37 hosts wait.")
    assert why(queue, job_id) == "salt: no answer since 10:02. 37 hosts wait."


def test_a_job_that_begins_on_no_other_host_has_a_reason_of_its_own_kind(queue: Queue) -> None:
    at_work(queue, 1)
    job_id = queue.submit()
    queue.claim()
    stopped = "Stopped after 1 failure (limit 1)."
    codes = []
    for reason in ("salt: no answer since 10:02. 1 host waits.", stopped):
        with begin(queue.engine) as conn:
            pauses.stand(conn, job_id, 1, "running", reason, {"stopped": stopped})
        with read(queue.engine) as conn:
            codes.append(waiting.reasons(conn, [queue.job(job_id)], NO_LIMITS)[job_id].code)
    assert codes == ["reason", "stopped"]


def test_nothing_is_asked_about_jobs_that_are_over(queue: Queue) -> None:
    job_id = queue.submit()
    queue.claim()
    queue.end(job_id)
    assert waiting.reasons(None, [queue.job(job_id)], NO_LIMITS) == {}  # type: ignore[arg-type]
