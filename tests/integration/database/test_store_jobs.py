"""Jobs in the database: claimed once, fenced, stored as they arrive, seen without a gap."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from people import add_person, furnish
from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from omserver_master.errors import LeaseLost, SiteKeyError
from omserver_master.jobs import claiming
from omserver_master.store import clock, jobs, leases, outputs, results, schema, workers
from omserver_master.store.engine import begin, make_engine, read, transact
from omserver_master.store.limits import Limits
from omserver_master.store.results import HostResult
from omserver_master.store.sitekey import SiteKey

_MESSAGES = itertools.count()


class Desk:
    """A site with a person and hosts; submits jobs."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with begin(engine) as conn:
            self.hosts = list(furnish(conn).hosts.values())
            self.user = add_person(conn, "alice", "operator")

    def submit(self, hosts: Sequence[int] | None = None, **changes: Any) -> int:
        return int(self.add(hosts, **changes)["id"])

    def add(self, hosts: Sequence[int] | None = None, **changes: Any) -> dict[str, Any]:
        chosen = self.hosts if hosts is None else hosts
        job = {
            "module": "1001", "module_sha256": "a" * 64, "params": {"lines": "50", "查": ["'", "\0"]},
            "user_id": self.user, "user": "alice", "key_kid": "k" * 16,
            "message_id": f"m{next(_MESSAGES)}", "request_hash": "b" * 64, "repeat": "once", "timeout": 60,
            "start_before": 2e9,
        }  # fmt: skip
        if "start_within" in changes:
            del job["start_before"]
        rows = [{"host_id": id_, "host": f"host-{id_}", "ip": "192.0.2.1"} for id_ in chosen]
        with begin(self.engine) as conn:
            return jobs.add_job(conn, {**job, **changes}, rows)

    def claim(self, worker: str = "w1", seconds: float = 30) -> Any:
        return transact(self.engine, lambda conn: claiming.claim(conn, worker, seconds, Limits()))

    def running(self) -> int:
        job_id = self.submit()
        assert self.claim()["id"] == job_id
        with begin(self.engine) as conn:
            results.mark_dispatched(conn, job_id, self.hosts, "jid-1", "salt", 1)
        return job_id

    def store(self, job_id: int, attempt: int, *ends: HostResult) -> list[int]:
        with begin(self.engine) as conn:
            return results.store_results(conn, job_id, attempt, ends)

    def rows(self, job_id: int) -> dict[int, Any]:
        with read(self.engine) as conn:
            return {row["host_id"]: row for row in results.results(conn, job_id)}

    def job(self, job_id: int) -> Any:
        with read(self.engine) as conn:
            return jobs.job_row(conn, job_id)


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def test_a_submitted_job_has_a_pending_row_for_every_host(desk: Desk) -> None:
    job_id = desk.submit()
    job = desk.job(job_id)
    assert (job["state"], job["host_count"], job["params"]["查"]) == ("queued", 5, ["'", "\0"])
    assert {row["state"] for row in desk.rows(job_id).values()} == {"pending"}


def test_a_new_job_is_answered_as_it_is_written(desk: Desk) -> None:
    rollout = {"batch": "2", "canary": ["a"]}
    with_all = {"locks": ["deploy"], "lock_mode": "skip", "rollout": rollout, "dry_run": True}
    for changes in ({}, with_all, {"start_within": 90.0}):
        told = desk.add(**changes)  # type: ignore[arg-type]
        written = dict(desk.job(told["id"]))
        assert written.pop("key_name") is None
        assert told == written


def test_until_when_a_job_must_begin_is_by_the_databases_clock(desk: Desk) -> None:
    job = desk.job(desk.submit(start_within=90.0))
    assert job["start_before"] - job["created"] == pytest.approx(90.0, abs=0.1)


def test_the_same_message_or_idempotency_key_makes_no_second_job(desk: Desk) -> None:
    first = desk.submit(message_id="same", idempotency_key="Key")
    with pytest.raises(IntegrityError):
        desk.submit(message_id="same")
    with pytest.raises(IntegrityError):
        desk.submit(idempotency_key="Key")
    other_case = desk.submit(idempotency_key="key")
    desk.submit(key_kid="another program", idempotency_key="Key")
    with read(desk.engine) as conn:
        by_key = jobs.find_by_idempotency(conn, "k" * 16, desk.user, "Key")
        by_message = jobs.find_by_message(conn, "k" * 16, "same")
        assert by_key is not None
        assert by_message is not None
        assert by_key["id"] == by_message["id"] == first != other_case
        assert jobs.find_by_idempotency(conn, "k" * 16, desk.user, "none") is None


def test_many_workers_at_once_claim_each_job_once(desk: Desk) -> None:
    submitted = {desk.submit([desk.hosts[0]]) for _ in range(30)}
    with ThreadPoolExecutor(8) as pool:
        rows = [future.result() for future in [pool.submit(desk.claim, f"w{n % 8}") for n in range(40)]]
    claimed = [row["id"] for row in rows if row]
    assert sorted(claimed) == sorted(submitted)
    assert {row["attempt"] for row in rows if row} == {1}


def test_jobs_that_another_worker_is_just_claiming_are_passed_over(desk: Desk) -> None:
    if desk.engine.dialect.name == "sqlite":
        return  # has one writer: the other one waits
    submitted = [desk.submit([desk.hosts[0]]) for _ in range(2 * claiming.MOST_JOBS + 3)]

    def claim(conn: Connection, worker: str) -> int:
        row = claiming.claim(conn, worker, 30, Limits())
        assert row is not None
        return int(row["id"])

    most = len(submitted) - 2
    with begin(desk.engine) as one, begin(desk.engine) as other:
        assert [claim(one, "w1") for _ in range(most)] == submitted[:most]
        assert claim(other, "w2") == submitted[most]
    assert desk.claim("w3")["id"] == submitted[-1]


def test_what_a_dead_worker_left_is_claimed_before_the_many_that_came_later(desk: Desk) -> None:
    left = desk.running()
    for _ in range(2 * claiming.MOST_JOBS):
        desk.submit([desk.hosts[0]])
    with begin(desk.engine) as conn:
        leases.give_up_leases(conn, "w1")
    assert desk.claim("w2")["id"] == left


def test_a_claim_reads_no_job_that_is_over(desk: Desk) -> None:
    """Neither do the other questions of every day, whatever the database believes of a table that grows."""
    first = desk.submit()
    with begin(desk.engine) as conn:
        given = dict(conn.execute(select(schema.jobs).where(schema.jobs.c.id == first)).mappings().one())
        del given["id"]
        over = given | {"state": "succeeded", "finished": clock.now(conn)}
        conn.execute(insert(schema.jobs), [{**over, "message_id": f"over {n}"} for n in range(4000)])
    last = desk.submit()
    own = make_engine(desk.engine.url.render_as_string(hide_password=False))
    for ask in (
        lambda conn: claiming.claim(conn, "w1", 30, Limits()),
        lambda conn: claiming.may_find(conn, 8),
        lambda conn: workers.crew(conn),
        lambda conn: workers.list_workers(conn),
        lambda conn: jobs.state_counts(conn),
        lambda conn: leases.give_up_leases(conn, "nobody"),
    ):
        with begin(own) as conn:
            before = _read_so_far(conn)
            ask(conn)
            assert _read_so_far(conn) - before < 300
    own.dispose()
    assert desk.claim()["id"] == last


def _read_so_far(conn: Connection) -> int:
    """Rows that the connection has read; on SQLite tens of steps, of which each row wants about one."""
    if conn.dialect.name == "sqlite":
        raw: Any = conn.connection.dbapi_connection
        if not hasattr(raw, "tens"):
            raw.tens = []
            raw.set_progress_handler(lambda: raw.tens.append(1), 10)
        return len(raw.tens)
    if conn.dialect.name == "postgresql":
        rows = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
        return int(conn.execute(text(rows)).scalar_one())
    found = conn.execute(text("SHOW SESSION STATUS LIKE 'Handler_read_%'")).all()
    return sum(int(row[1]) for row in found if not row[0].endswith("_deleted"))


def test_a_job_under_a_live_lease_is_not_claimed_and_an_expired_one_is(desk: Desk) -> None:
    job_id = desk.submit()
    assert desk.claim(seconds=30)["id"] == job_id
    assert desk.claim("w2") is None
    with begin(desk.engine) as conn:
        assert leases.claim_this(conn, job_id, "w2", 30) is None
        conn.execute(update(schema.jobs).values(lease_until=clock.now(conn) - 1))
        taken = leases.claim_this(conn, job_id, "w2", 30)
        assert taken is not None
        assert (taken["worker"], taken["attempt"]) == ("w2", 2)


def test_a_worker_that_lost_its_lease_writes_nothing(desk: Desk) -> None:
    job_id = desk.running()
    with begin(desk.engine) as conn:
        conn.execute(update(schema.jobs).values(lease_until=clock.now(conn) - 1))
        leases.claim_this(conn, job_id, "w2", 30)
    before = desk.job(job_id), desk.rows(job_id)
    writes = [
        lambda conn: leases.renew_lease(conn, job_id, "w1", 1, 30),
        lambda conn: leases.release_job(conn, job_id, 1, "waits"),
        lambda conn: results.mark_dispatched(conn, job_id, desk.hosts, "jid", "salt", 1),
        lambda conn: results.store_results(conn, job_id, 1, [HostResult(desk.hosts[0], "ok")]),
        lambda conn: results.end_rows(conn, job_id, 1, {"dispatched"}, "unknown", "?"),
        lambda conn: jobs.set_state(conn, job_id, 1, "running"),
        lambda conn: jobs.finish_job(conn, job_id, 1, "succeeded"),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            transact(desk.engine, write)
    assert (desk.job(job_id), desk.rows(job_id)) == before


def test_renewing_prolongs_the_lease(desk: Desk) -> None:
    job_id = desk.running()
    with begin(desk.engine) as conn:
        leases.renew_lease(conn, job_id, "w1", 1, 300)
        now = clock.now(conn)
    assert desk.job(job_id)["lease_until"] == pytest.approx(now + 300, abs=5)


def test_whoever_writes_under_the_fence_hears_of_a_cancel(desk: Desk) -> None:
    job_id = desk.running()
    with begin(desk.engine) as conn:
        assert not leases.fence(conn, job_id, 1).cancel_asked
        jobs.ask_cancel(conn, job_id)
        stands = leases.fence(conn, job_id, 1, reason="is told")
        assert stands.cancel_asked
        assert stands.now == pytest.approx(clock.now(conn), abs=5)
    assert desk.job(job_id)["event"] == stands.event


def test_a_job_that_is_cancelled_says_no_more_what_it_was_waiting_for(desk: Desk) -> None:
    job_id = desk.running()
    with begin(desk.engine) as conn:
        jobs.set_reason(conn, job_id, 1, "Batch 3 of 3 starts when batch 2 ends.")
        asked = jobs.ask_cancel(conn, job_id)
    assert asked is not None
    assert (asked["state"], asked["reason"]) == ("cancelling", "")


def test_a_released_job_says_why_it_waits_and_comes_back_after_its_time(desk: Desk) -> None:
    job_id = desk.submit()
    desk.claim()
    with begin(desk.engine) as conn:
        leases.release_job(conn, job_id, 1, "The Salt master is down.", wait_seconds=60)
    assert desk.job(job_id)["reason"] == "The Salt master is down."
    assert desk.claim() is None
    with begin(desk.engine) as conn:
        jobs.ask_cancel(conn, job_id)
    assert desk.claim()["attempt"] == 2


def test_dispatching_is_written_down_with_its_handle_before_it_happens(desk: Desk) -> None:
    job_id = desk.submit()
    desk.claim()
    some = desk.hosts[:2]
    with begin(desk.engine) as conn:
        results.mark_dispatched(conn, job_id, some, "jid-1", "salt", 1, {some[0]: "minion.one"})
    rows, job = desk.rows(job_id), desk.job(job_id)
    assert [rows[id_]["state"] for id_ in desk.hosts] == ["dispatched"] * 2 + ["pending"] * 3
    assert (rows[some[0]]["handle"], rows[some[0]]["remote_id"]) == ("jid-1", "minion.one")
    assert job["state"] == "running"
    assert job["started"] == pytest.approx(job["created"], abs=5)


def test_only_open_hosts_of_the_job_are_dispatched_and_a_second_step_keeps_its_start(desk: Desk) -> None:
    job_id = desk.submit(desk.hosts[:3])
    desk.claim()
    ended, first, second = desk.hosts[:3]
    desk.store(job_id, 1, HostResult(ended, "ok"))
    for handle, some in (("jid-1", [ended, first, desk.hosts[4]]), ("jid-2", [first, second])):
        with begin(desk.engine) as conn:
            results.mark_dispatched(conn, job_id, some, handle, "salt", 1, step={second: 2})
        started = desk.rows(job_id)[first]["started"]
        rows = desk.rows(job_id)
        assert (list(rows), rows[first]["started"]) == (desk.hosts[:3], started)
    assert [rows[id_]["state"] for id_ in desk.hosts[:3]] == ["ok", "dispatched", "dispatched"]
    assert [rows[id_]["handle"] for id_ in desk.hosts[:3]] == ["", "jid-2", "jid-2"]
    assert [rows[id_]["step"] for id_ in desk.hosts[:3]] == [0, 1, 2]
    assert [rows[id_]["host"] for id_ in desk.hosts[:3]] == [f"host-{id_}" for id_ in desk.hosts[:3]]
    with begin(desk.engine) as conn:
        results.mark_not_sent(conn, job_id, desk.hosts[:2], 1)
    states = [desk.rows(job_id)[id_]["state"] for id_ in desk.hosts[:3]]
    assert states == ["ok", "pending", "dispatched"]


def test_many_ends_are_one_statement_on_mariadb(desk: Desk, site_key: SiteKey) -> None:
    if desk.engine.dialect.name in ("sqlite", "postgresql"):
        return  # nothing goes over a wire; its driver sends many rows at once
    job_id = desk.running()
    ends = [HostResult(id_, "ok", "", 0, outputs.seal(site_key, b"%d" % id_)) for id_ in desk.hosts]

    def asked(conn: Connection) -> int:
        return int(conn.exec_driver_sql("SHOW SESSION STATUS LIKE 'Questions'").one()[1])

    sent = []
    for some in (ends[:2], ends[2:]):
        with begin(desk.engine) as conn:
            before = asked(conn)
            results.store_results(conn, job_id, 1, some)
            sent.append(asked(conn) - before)
    assert sent[0] == sent[1]


def test_results_carry_their_outputs(desk: Desk, site_key: SiteKey) -> None:
    job_id, text = desk.running(), b"\x1b[31m\n  first line\n" + b"\xff\0" * 600_000
    end = HostResult(
        desk.hosts[0], "failed", "rc 3", 3, outputs.seal(site_key, text), outputs.seal(site_key, b"oops"), 7
    )
    assert desk.store(job_id, 1, end) == [desk.hosts[0]]
    row = desk.rows(job_id)[desk.hosts[0]]
    shown = [row[name] for name in ("state", "reason", "rc", "stdout_bytes", "stderr_bytes", "stdout_cut")]
    assert shown == ["failed", "rc 3", 3, len(text), 4, 7]
    assert row["first_line"] == "first line"
    with read(desk.engine) as conn:
        assert outputs.get_output(conn, site_key, row["stdout_id"]) == text
        assert outputs.get_output(conn, site_key, row["stderr_id"]) == b"oops"


@pytest.mark.parametrize(
    ("before", "after", "wins"),
    [
        ("ok", "failed", False), ("failed", "ok", False), ("cancelled", "ok", False),
        ("skipped", "ok", False), ("not_started", "ok", False), ("unknown", "ok", True),
        ("timed_out", "failed", True), ("unreachable", "ok", True), ("unknown", "timed_out", False),
        ("unknown", "pending", False),
    ],
)  # fmt: skip
def test_only_an_uncertain_end_is_replaced_and_marked_late(
    desk: Desk, before: str, after: str, wins: bool
) -> None:
    job_id, host = desk.running(), desk.hosts[0]
    desk.store(job_id, 1, HostResult(host, before))
    with begin(desk.engine) as conn:
        jobs.finish_job(conn, job_id, 1, "failed")
    assert desk.store(job_id, 1, HostResult(host, after)) == ([host] if wins else [])
    row = desk.rows(job_id)[host]
    assert (row["state"], row["late"]) == ((after, True) if wins else (before, False))


def test_a_host_that_is_not_of_the_job_is_dropped_and_a_double_answer_counts_once(desk: Desk) -> None:
    job_id = desk.submit(desk.hosts[:2])
    desk.claim()
    ends = [
        HostResult(desk.hosts[4], "ok"),
        HostResult(desk.hosts[0], "ok"),
        HostResult(desk.hosts[0], "failed"),
    ]
    assert desk.store(job_id, 1, *ends) == [desk.hosts[0]]
    rows = desk.rows(job_id)
    assert {id_: row["state"] for id_, row in rows.items()} == dict(
        zip(desk.hosts[:2], ["ok", "pending"], strict=True)
    )


def test_what_happens_to_many_hosts_at_once_is_told_in_pieces(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROWS_OF_EVENT", 2)
    job_id, since, told = desk.running(), 0, []

    def tell() -> None:
        nonlocal since
        newest = desk.job(job_id)["event"]
        while since < newest:
            with read(desk.engine) as conn:
                rows, since = results.events_since(conn, job_id, since, limit=2)
            told.append([row["host_id"] for row in rows])

    tell()
    desk.store(job_id, 1, *[HostResult(id_, "ok") for id_ in desk.hosts[:3]])
    tell()
    with begin(desk.engine) as conn:
        assert results.end_rows(conn, job_id, 1, ["dispatched"], "unknown", "why") == 2
        jobs.finish_job(conn, job_id, 1, "failed")
    tell()
    assert max(map(len, told)) == 2
    assert [id_ for piece in told for id_ in piece] == [*desk.hosts, *desk.hosts]


def test_what_changed_since_an_event_is_seen_once_each(desk: Desk) -> None:
    job_id, seen, since = desk.running(), [], 0
    for host in desk.hosts:
        desk.store(job_id, 1, HostResult(host, "ok"))
        with read(desk.engine) as conn:
            rows, since = results.events_since(conn, job_id, since)
            assert results.events_since(conn, job_id, since) == ([], since)
        seen += [row["host_id"] for row in rows if row["state"] == "ok"]
    assert seen == desk.hosts
    assert since == desk.job(job_id)["event"]


def test_a_limit_never_tears_an_event_apart(desk: Desk) -> None:
    job_id, since, rounds, seen = desk.running(), 0, 0, set()
    desk.store(job_id, 1, *[HostResult(host, "ok") for host in desk.hosts[:3]])
    with read(desk.engine) as conn:
        while True:
            rows, next_since = results.events_since(conn, job_id, since, limit=1)
            if next_since == since:
                break
            since, rounds = next_since, rounds + 1
            seen |= {row["host_id"] for row in rows}
    assert seen == set(desk.hosts)
    assert rounds == 2


def test_open_rows_are_ended_together_and_counted(desk: Desk) -> None:
    job_id = desk.running()
    desk.store(job_id, 1, HostResult(desk.hosts[0], "ok"))
    with begin(desk.engine) as conn:
        assert results.end_rows(conn, job_id, 1, {"dispatched", "ok"}, "unknown", "The worker died.") == 4
        assert results.counts(conn, [job_id, 0]) == {job_id: {"ok": 1, "unknown": 4}, 0: {}}
    assert desk.rows(job_id)[desk.hosts[1]]["reason"] == "The worker died."


def test_a_finished_job_is_not_claimed_cancelled_or_ended_again(desk: Desk) -> None:
    job_id = desk.running()
    with begin(desk.engine) as conn:
        jobs.finish_job(conn, job_id, 1, "succeeded")
        jobs.ask_cancel(conn, job_id)
    assert desk.claim() is None
    with pytest.raises(LeaseLost), begin(desk.engine) as conn:
        jobs.finish_job(conn, job_id, 1, "failed")
    job = desk.job(job_id)
    assert (job["state"], job["cancel_asked"]) == ("succeeded", False)


def test_jobs_are_listed_newest_first_and_filtered(desk: Desk) -> None:
    first, second = desk.submit(desk.hosts[:1]), desk.submit(desk.hosts[1:], module="1003")
    web_only = select(schema.server_list.c.ID).where(schema.server_list.c.ID.in_(desk.hosts[:1]))

    def found(**wanted: Any) -> list[int]:
        with read(desk.engine) as conn:
            return [row["id"] for row in jobs.list_jobs(conn, limit=10, **wanted)]

    assert found() == [second, first]
    assert found(before=second) == [first]
    assert found(module="1003") == [second]
    assert found(state="running") == []
    assert found(user="ALICE") == [second, first]
    assert found(user="bob") == []
    assert found(host="WEB-01") == [first]
    assert found(host="web-01", before=first) == []
    assert found(host="shop-01", module="1003", before=second + 1) == [second]
    assert found(host="shop-01", state="queued") == [second]
    assert found(host="shop-01", state="running") == found(host="web-01", module="1003") == []
    assert found(host="nobody") == []
    assert found(scope=web_only) == [first]
    with begin(desk.engine) as conn:
        long_ago = clock.now(conn) - 3600
        old = update(schema.jobs).where(schema.jobs.c.id == first)
        conn.execute(old.values(created=long_ago))
    assert found(since=long_ago + 1) == [second]
    assert found(until=long_ago + 1) == [first]
    assert found(since=long_ago, until=long_ago, user="alice") == [first]
    assert found(since=long_ago + 7200) == found(until=long_ago - 1) == []
    with read(desk.engine) as conn:
        assert jobs.job_row(conn, second, web_only) is None
        assert results.results(conn, second, scope=web_only) == []
        assert jobs.state_counts(conn) == {"queued": 2}
        assert jobs.count_in_state(conn, "queued") == 2
        assert jobs.count_in_state(conn, "queued", web_only) == 1
        assert jobs.count_in_state(conn, "paused") == 0


def test_ten_thousand_hosts_are_submitted_and_stored_in_seconds(desk: Desk, site_key: SiteKey) -> None:
    with begin(desk.engine) as conn:
        rows = [{"server_name": f"h{n}", "name_key": f"h{n}"} for n in range(10_000)]
        conn.execute(schema.server_list.insert(), rows)
        many = list(conn.execute(select(schema.server_list.c.ID)).scalars())
    job_id = desk.submit(many)
    desk.claim()
    text = outputs.seal(site_key, b"the same on each")
    assert len(desk.store(job_id, 1, *[HostResult(id_, "ok", stdout=text) for id_ in many])) == len(many)
    with read(desk.engine) as conn:
        assert results.counts(conn, [job_id]) == {job_id: {"ok": len(many)}}


def _stored(conn: Connection) -> list[Any]:
    return list(conn.execute(select(schema.outputs)))


def test_an_output_is_stored_once_compressed_and_not_readable(engine: Engine, site_key: SiteKey) -> None:
    secret = b"canary-4711 " * 1000
    with begin(engine) as conn:
        ids = {outputs.put_output(conn, site_key, secret) for _ in range(3)}
        assert outputs.put_output(conn, site_key, b"") is None
        (row,) = _stored(conn)
    assert ids == {row.id}
    assert b"canary" not in row.body
    assert len(row.body) < len(secret) / 10


def test_an_output_that_was_changed_or_moved_is_not_opened(engine: Engine, site_key: SiteKey) -> None:
    with begin(engine) as conn:
        one, two = (outputs.put_output(conn, site_key, text) for text in (b"one", b"two"))
        bodies = {row.id: row.body for row in _stored(conn)}
        table = schema.outputs
        conn.execute(update(table).where(table.c.id == one).values(body=bodies[two]))
        with pytest.raises(SiteKeyError):
            outputs.get_output(conn, site_key, one)
        with pytest.raises(SiteKeyError):
            outputs.get_output(conn, SiteKey.of(bytes(range(1, 33))), two)


def test_workers_that_store_the_same_outputs_at_once_do_not_disturb_each_other(
    engine: Engine, site_key: SiteKey
) -> None:
    texts = [text for n in range(50) if (text := outputs.seal(site_key, b"text %d" % n))]

    def store(start: int) -> dict[str, int]:
        with begin(engine) as conn:  # not transact: nobody may lose
            return outputs.put_sealed(conn, texts[start:] + texts[:start])

    with ThreadPoolExecutor(6) as pool:
        answers = [future.result() for future in [pool.submit(store, n * 7) for n in range(12)]]
    assert all(answer == answers[0] for answer in answers)
