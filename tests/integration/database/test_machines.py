"""Jobs and the machines that reach their hosts: who may claim what, what follows a change, what is said."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from people import add_person, furnish
from sqlalchemy import Engine, update

from omserver_client.errors import BadRequest
from omserver_master.jobs import claiming, reaching, settling, waiting
from omserver_master.store import clock, connections, hosts, jobs, machines, results, schema, workers
from omserver_master.store.engine import begin, read, transact
from omserver_master.store.limits import Limits

_MESSAGES = itertools.count()


class Site:
    """Hosts a, b and c, each over a connection of its own: a by gd_1, b by sz-1 or sz-2, c by any machine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with begin(engine) as conn:
            web = furnish(conn).www
            self.user = add_person(conn, "alice", "operator")
            self.ways, self.hosts = {}, {}
            for name, served in (("a", ["gd_1"]), ("b", ["sz-1", "sz-2"]), ("c", [])):
                self.ways[name] = connections.add_connection(conn, f"to-{name}", "local", {}, served)
                self.hosts[name] = hosts.add_host(conn, name, app_id=web)
                connections.link_host(conn, self.hosts[name], self.ways[name], name)

    def ids(self, names: str) -> list[int]:
        return [self.hosts[name] for name in names]

    def submit(self, names: str, engines: Sequence[str] = ()) -> int:
        job = {
            "module": "1001", "module_sha256": "a" * 64, "params": {}, "user_id": self.user, "user": "alice",
            "key_kid": "k" * 16, "message_id": f"x{next(_MESSAGES)}", "request_hash": "b" * 64,
            "repeat": "once", "timeout": 60, "start_before": 2e9, "engines": list(engines),
        }  # fmt: skip
        rows = [{"host_id": self.hosts[name], "host": name, "ip": ""} for name in names]
        with begin(self.engine) as conn:
            reach = reaching.all_reach(conn, self.ids(names), engines)
            return int(jobs.add_job(conn, {**job, "machines": machines.packed(reach)}, rows)["id"])

    def claim(self, machine: str, worker: str = "w") -> int | None:
        with read(self.engine) as conn:
            may_find = claiming.may_find(conn, 9, machine)
        row = transact(self.engine, lambda conn: claiming.claim(conn, worker, 30, Limits(), machine))
        assert (may_find > 0) == (row is not None)
        return None if row is None else row["id"]

    def check(self, names: str) -> Any:
        with read(self.engine) as conn:
            known = hosts.hosts_by_id(conn, self.ids(names))
            return reaching.check(conn, [known[id_] for id_ in self.ids(names)], ())

    def serve(self, name: str, *names: str) -> None:
        with begin(self.engine) as conn:
            connections.set_machines(conn, self.ways[name], names)
            reaching.ways_changed(conn, connections.hosts_of(conn, self.ways[name]))

    def alive(self, worker: str, machine: str, ago: float = 0) -> None:
        with begin(self.engine) as conn:
            workers.beat(conn, worker, machine)
            seen = clock.now(conn) - ago
            this = update(schema.workers).where(schema.workers.c.name == worker)
            conn.execute(this.values(last_seen=seen))

    def job(self, job_id: int) -> Any:
        with read(self.engine) as conn:
            return jobs.job_row(conn, job_id)

    def of(self, job_id: int) -> list[str]:
        return machines.unpacked(self.job(job_id)["machines"])

    def why(self, job_id: int) -> Any:
        with read(self.engine) as conn:
            return waiting.reasons(conn, [jobs.job_row(conn, job_id)], Limits()).get(job_id)  # type: ignore[list-item]

    def lose(self, job_id: int) -> None:
        """The worker that has the job is silent for longer than its claim lasts."""
        with begin(self.engine) as conn:
            late = clock.now(conn) - 1
            conn.execute(update(schema.jobs).where(schema.jobs.c.id == job_id).values(lease_until=late))


@pytest.fixture
def site(engine: Engine) -> Site:
    return Site(engine)


def test_a_job_is_claimed_only_where_all_its_hosts_are_reached(site: Site) -> None:
    first, second, anywhere = site.submit("ac"), site.submit("b"), site.submit("c")
    assert site.claim("sz-2") == second
    assert site.claim("gd_1") == first
    assert site.claim("elsewhere") == anywhere
    assert [site.claim(name) for name in ("sz-2", "gd_1", "elsewhere", "")] == [None] * 4


def test_a_machine_is_known_by_its_whole_name(site: Site) -> None:
    job_id = site.submit("a")
    for other in ("gdx1", "gd", "gd_11", "d_1", "", "sz-1"):
        assert site.claim(other) is None, other
    assert site.claim("gd_1") == job_id
    site.serve("c", "gdx1", "a.gd_1")
    other = site.submit("c")
    assert site.claim("gd_1") is None
    assert site.claim("gdx1") == other


def test_a_job_whose_worker_is_gone_is_taken_up_by_the_same_machine_only(site: Site) -> None:
    job_id = site.submit("a")
    assert site.claim("gd_1", "w1") == job_id
    site.lose(job_id)
    assert site.claim("sz-1", "w2") is None
    assert site.claim("gd_1", "w3") == job_id
    assert (site.job(job_id)["worker"], site.job(job_id)["attempt"]) == ("w3", 2)


def test_a_job_that_no_machine_can_do_is_refused_with_who_reaches_what(site: Site) -> None:
    assert site.check("ac") == {"gd_1"}
    assert site.check("c") is None
    with pytest.raises(BadRequest, match=r"a \(gd_1\); b \(sz-1, sz-2\)\. Run") as refused:
        site.check("abc")
    assert refused.value.details["field"] == "hosts"
    assert "omctl connection set" in str(refused.value)


def test_only_ways_that_the_module_works_with_count(site: Site) -> None:
    with begin(site.engine) as conn:
        anywhere = connections.add_connection(conn, "jump", "ssh", {})
        connections.link_host(conn, site.hosts["a"], anywhere, "a", 1)
    with read(site.engine) as conn:
        assert reaching.all_reach(conn, site.ids("a")) is None
        assert reaching.all_reach(conn, site.ids("a"), ["local"]) == {"gd_1"}


def test_jobs_that_wait_follow_a_connection_that_others_serve_now(site: Site) -> None:
    waits, both, other = site.submit("a"), site.submit("ac"), site.submit("b")
    site.serve("a", "new-1")
    assert (site.of(waits), site.of(both), site.of(other)) == (["new-1"], ["new-1"], ["sz-1", "sz-2"])
    assert site.claim("gd_1") is None
    site.serve("a")
    assert (site.of(waits), site.of(both)) == ([], [])
    site.serve("c", "lost-1")
    site.serve("a", "new-1")
    assert site.of(both) == ["lost-1"], "no machine reaches both: it stays where it was"


def test_a_job_of_machines_without_a_worker_says_so(site: Site) -> None:
    one, two, anywhere = site.submit("a"), site.submit("b"), site.submit("c")
    assert site.why(one).code == "no_worker"
    site.alive("w1", "elsewhere")
    site.alive("w2", "gd_1", ago=60)
    assert site.why(one).text == "No worker on machine gd_1 is running."
    assert site.why(two).text == "No worker on any of the machines sz-1, sz-2 is running."
    assert (site.why(two).code, site.why(two).values) == ("no_machine", {"machines": ["sz-1", "sz-2"]})
    assert site.why(anywhere) is None
    site.alive("w3", "gd_1")
    assert site.why(one) is None
    assert site.claim("gd_1", "w3") == one
    site.lose(one)
    assert "another one takes it up" in site.why(one).text
    site.alive("w3", "gd_1", ago=60)
    assert site.why(one).text == "No worker on machine gd_1 is running."


def test_a_job_waits_for_the_workers_of_its_machine_though_others_are_free(site: Site) -> None:
    site.alive("w1", "gd_1")
    site.alive("w2", "elsewhere")
    for _ in range(claiming.MOST_JOBS):
        site.submit("a")
        assert site.claim("gd_1", "w1") is not None
    job_id = site.submit("a")
    why = site.why(job_id)
    assert (why.code, why.text) == ("machine_busy", "The worker on machine gd_1 is busy.")
    assert site.why(site.submit("c")) is None
    site.alive("w3", "gd_1")
    assert site.why(job_id) is None


def test_what_was_cancelled_on_a_machine_that_is_gone_ends_and_is_not_known(site: Site) -> None:
    job_id = site.submit("ac")
    site.claim("gd_1", "w1")
    site.alive("w1", "gd_1")
    with begin(site.engine) as conn:
        results.mark_dispatched(conn, job_id, site.ids("a"), "handle", "to-a", 1)
        jobs.ask_cancel(conn, job_id)
    assert settling.settle_all(site.engine, "w2") == 0, "its worker has it"
    site.lose(job_id)
    assert settling.settle_all(site.engine, "w2") == 0, "another worker of its machine takes it up"
    site.alive("w1", "gd_1", ago=60)
    assert settling.settle_all(site.engine, "w2") == 1
    with read(site.engine) as conn:
        rows = {row["host"]: (row["state"], row["reason"]) for row in results.results(conn, job_id)}
    assert site.job(job_id)["state"] == "failed"
    assert rows["a"][0] == "unknown"
    assert rows["a"][1].startswith("No worker on machine gd_1 is running, so it could not be stopped.")
    assert rows["c"] == ("not_started", "Cancelled before anything was sent to it.")


def test_what_was_cancelled_in_the_queue_of_a_machine_that_is_gone_ends(site: Site) -> None:
    job_id = site.submit("a")
    with begin(site.engine) as conn:
        jobs.ask_cancel(conn, job_id)
    assert settling.settle_all(site.engine, "w2") == 1
    assert site.job(job_id)["state"] == "cancelled"


def test_a_worker_says_on_which_machine_it_runs(site: Site) -> None:
    site.alive("w1", "gd_1")
    site.alive("w1", "gd_2")
    with read(site.engine) as conn:
        assert [(row["name"], row["machine"]) for row in workers.list_workers(conn)] == [("w1", "gd_2")]
        assert workers.crew(conn).machines == {"gd_2": 1}
