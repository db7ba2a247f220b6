"""What goes when its time is over, what stays, and that a purge can be stopped, repeated and run twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
from past import KEEP, Past
from sqlalchemy import Engine, func, select, update

from omserver_master.errors import AuditBroken
from omserver_master.keeping import Keep, Purge, Purged
from omserver_master.store import audit, clock, jobs, outputs, results, retention, schema
from omserver_master.store.engine import begin, read, transact
from omserver_master.store.sitekey import SiteKey

DAY = 86_400.0


@pytest.fixture
def past(engine: Engine, site_key: SiteKey) -> Past:
    return Past(engine, site_key)


def test_outputs_go_by_age_and_whole_jobs_later(past: Past) -> None:
    young, old, older = past.job(89, [b"young"]), past.job(91, [b"old", b"too"]), past.job(401, [b"older"])
    done = past.purge()
    assert past.jobs() == {young: False, old: True}
    assert past.texts() == [b"young"]
    assert (done.jobs_emptied, done.texts, done.jobs_removed, done.host_rows) == (2, 3, 1, 1)
    with read(past.engine) as conn:
        rows = results.results(conn, old)
        assert [row["stdout_bytes"] for row in rows] == [3, 3]
        assert [row["first_line"] for row in rows] == ["old", "too"]
        assert jobs.job_row(conn, older) is None
    assert not past.purge()


def test_a_text_that_another_job_refers_to_stays(past: Past) -> None:
    past.job(91, [b"shared", b"alone"], before=b"in a step")
    young = past.job(1, [b"shared"], before=b"in a step")
    past.purge()
    assert past.texts() == [b"in a step", b"shared"]
    with begin(past.engine) as conn:
        then = clock.now(conn) - 91 * DAY
        conn.execute(update(schema.jobs).where(schema.jobs.c.id == young).values(finished=then))
    past.purge()
    assert past.texts() == []


def test_a_pinned_or_unfinished_job_is_kept_whole_whatever_its_age(past: Past) -> None:
    kept, open_ = past.job(5000, [b"pinned"], pinned=True, before=b"step"), past.job(5000, [b"open"])
    with begin(past.engine) as conn:
        conn.execute(update(schema.jobs).where(schema.jobs.c.id == open_).values(finished=None))
    past.purge(Keep(90, 400, 1100, output_bytes=1))
    assert past.jobs() == {kept: False, open_: False}
    assert past.texts() == [b"open", b"pinned", b"step"]


def test_a_job_that_was_pinned_or_taken_up_since_it_was_looked_at_stays_whole(past: Past) -> None:
    pinned, open_ = past.job(500, [b"pinned"], pinned=True), past.job(500, [b"open"])
    with begin(past.engine) as conn:
        conn.execute(update(schema.jobs).where(schema.jobs.c.id == open_).values(finished=None))
        assert retention.empty_jobs(conn, [pinned, open_]) == (True, 0, 0, 0)
        conn.execute(update(schema.jobs).values(purged=clock.now(conn)))
        assert retention.remove_jobs(conn, [pinned, open_]) == (True, 0, 0)
    assert past.texts() == [b"open", b"pinned"]


def test_by_size_the_oldest_outputs_go_until_the_rest_fits(past: Past) -> None:
    oldest, middle, newest = (past.job(days, [bytes([days]) * 50]) for days in (3, 2, 1))
    with read(past.engine) as conn:
        one = retention.bytes_after(conn, 0)[0] // 3
    past.purge(Keep(90, 400, 1100, output_bytes=2 * one + 1))
    assert past.jobs() == {oldest: True, middle: False, newest: False}
    past.purge(Keep(90, 400, 1100, output_bytes=one - 1))
    assert past.jobs() == {oldest: True, middle: True, newest: True}


def test_a_purge_goes_in_small_transactions_and_on_where_it_was_stopped(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS", 2)
    ids = [past.job(500 + n, [b"%d %d" % (n, m) for m in range(5)], before=b"%d" % n) for n in range(3)]
    most, whole = 0, Purged()
    for _ in range(200):
        before = _rows(past.engine)
        stop = threading.Event()
        monkeypatch.setattr("omserver_master.keeping.transact", _once(stop))
        done = past.purge(stop=stop)
        most = max([most, *(before[name] - left for name, left in _rows(past.engine).items())])
        whole = Purged(*(a + b for a, b in zip(asdict(whole).values(), asdict(done).values(), strict=True)))
        if not past.jobs():
            break
    assert past.jobs() == {}
    assert past.texts() == []
    assert (whole.jobs_emptied, whole.jobs_removed, whole.host_rows, whole.texts) == (3, 3, 15, 18)
    assert most <= 4, ids  # a job's last row goes with its job; two tables have two rows each


def _rows(engine: Engine) -> dict[str, int]:
    with read(engine) as conn:
        tables = schema.jobs, schema.host_results, schema.steps, schema.outputs
        return {t.name: conn.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}


def _once(stop: threading.Event):  # type: ignore[no-untyped-def]
    def once(engine, work):  # type: ignore[no-untyped-def]
        stop.set()
        return transact(engine, work)

    return once


def test_two_purges_at_once_while_results_arrive_lose_nothing_that_is_referred_to(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROWS", 10)
    for n in range(12):
        past.job(100, [b"common", b"text %d" % (n % 4), b"own %d" % n])

    def arrive(worker: int) -> list[int]:
        return [past.job(0, [b"common", b"text %d" % (n % 4)]) for n in range(8)]

    with ThreadPoolExecutor(5) as pool:
        purges = [pool.submit(past.purge) for _ in range(2)]
        arrived = [pool.submit(arrive, n) for n in range(3)]
        young = [id_ for one in arrived for id_ in one.result()]
        for one in purges:
            one.result()
    past.purge()
    Purge(past.engine, past.site, KEEP, pauses=False).sweep()
    assert {id_ for id_, gone in past.jobs().items() if not gone} == set(young)
    assert past.texts() == sorted([b"common", *(b"text %d" % n for n in range(4))])
    with read(past.engine) as conn:
        for id_ in young:
            first = results.results(conn, id_)[0]
            assert outputs.get_output(conn, past.site, first["stdout_id"]) == b"common"


def test_a_text_that_is_just_being_referred_to_is_passed_over(past: Past) -> None:
    if past.engine.dialect.name == "sqlite":
        return  # there, nobody else writes meanwhile
    with begin(past.engine) as conn:
        id_ = outputs.put_output(conn, past.site, b"wanted again")
    assert id_ is not None
    with begin(past.engine) as worker:
        assert outputs.put_output(worker, past.site, b"wanted again") == id_
        with begin(past.engine) as conn:
            assert retention.drop_unused(conn, [id_]) == (0, 0)
    assert past.texts() == [b"wanted again"]
    with begin(past.engine) as conn:
        assert retention.drop_unused(conn, [id_])[0] == 1


def test_what_would_go_is_said_without_doing_it(past: Past) -> None:
    past.job(91, [b"a", b"b"]), past.job(401, [b"c"])
    found, stored = Purge(past.engine, past.site, KEEP).would()
    assert (found.jobs_emptied, found.jobs_removed, found.host_rows) == (2, 1, 1)
    assert stored > 0
    assert len(past.jobs()) == 2
    assert len(past.texts()) == 3


@pytest.fixture
def old_audit(past: Past, monkeypatch: pytest.MonkeyPatch) -> Past:
    with read(past.engine) as conn:
        now = clock.now(conn)
    head = audit._locked_head
    with begin(past.engine) as conn:
        for number in range(20):
            age = (1195 - 10 * number) * DAY  # ten rows are older than 1100 days
            monkeypatch.setattr(audit, "_locked_head", lambda conn, age=age: (head(conn)[0], now - age))
            audit.append(conn, action="job.submit", user=f"user {number}")
    monkeypatch.undo()
    return past


def test_the_audit_is_cut_at_its_old_end_and_still_verified(old_audit: Past) -> None:
    past = old_audit
    with read(past.engine) as conn:
        assert audit.rows_before(conn, clock.now(conn) - 1100 * DAY) == 10
        noted = audit.verify(conn).head
    assert past.purge().audit_rows == 10
    with read(past.engine) as conn:
        assert audit.verify(conn, noted, past.site).rows == 11
        newest = audit.list_audit(conn, limit=1)[0]
        assert (newest["action"], newest["user"]) == (audit.CUT, "test")
        with pytest.raises(AuditBroken, match="removed"):
            audit.verify(conn)
        with pytest.raises(AuditBroken, match="removed"):
            audit.verify(conn, site=SiteKey.of(bytes(range(1, 33))))
    assert past.purge().audit_rows == 0
    with begin(past.engine) as conn:
        _remove_oldest(conn)
        with pytest.raises(AuditBroken, match="removed"):
            audit.verify(conn, site=past.site)


def test_a_cut_that_did_not_come_to_its_end_holds_and_is_taken_up(
    old_audit: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = old_audit
    monkeypatch.setattr(audit, "_CUT_ROWS", 3)
    with begin(past.engine) as conn:
        before = clock.now(conn) - 1100 * DAY
        assert audit.cut(conn, past.site, before, "test") == (3, True)
        assert audit.verify(conn, site=past.site).rows == 18
    assert past.purge().audit_rows == 7
    with read(past.engine) as conn:
        assert audit.verify(conn, site=past.site).rows == 11


def _remove_oldest(conn) -> None:  # type: ignore[no-untyped-def]
    oldest = conn.execute(select(func.min(schema.audit_events.c.id))).scalar_one()
    conn.execute(schema.audit_events.delete().where(schema.audit_events.c.id == oldest))
