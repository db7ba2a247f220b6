"""Jobs that are paused and resumed, and where they stand in their roll-out, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine
from test_store_jobs import Desk

from omserver_master.errors import LeaseLost, PauseAsked
from omserver_master.store import jobs, leases, pauses, results
from omserver_master.store.engine import begin, read


def row_of(engine: Engine, job: int) -> Any:
    with read(engine) as conn:
        return jobs.job_row(conn, job)


def test_a_pause_is_asked_for_once_and_taken_back_once(engine: Engine) -> None:
    job = Desk(engine).running()
    before = row_of(engine, job)["event"]
    with begin(engine) as conn:
        assert pauses.ask_pause(conn, job, "alice")
        assert not pauses.ask_pause(conn, job, "bob")
    row = row_of(engine, job)
    assert (row["pause_asked"], row["paused_by"], row["event"]) == (True, "alice", before + 1)
    with begin(engine) as conn:
        assert pauses.ask_resume(conn, job)
        assert not pauses.ask_resume(conn, job)
    row = row_of(engine, job)
    assert (row["pause_asked"], row["paused_by"], row["event"]) == (False, "", before + 2)


def test_a_job_writes_where_it_stands_and_asks_under_its_fence(engine: Engine) -> None:
    job = Desk(engine).running()
    progress = {"batch": 2, "over": 17.5, "asked": True}
    with begin(engine) as conn:
        pauses.stand(conn, job, 1, "paused", "Waits.", progress, ask=True)
        claim = jobs.claim_of(conn, job)
    row = row_of(engine, job)
    assert (row["state"], row["reason"], row["progress"]) == ("paused", "Waits.", progress)
    assert claim is not None
    assert (bool(claim["pause_asked"]), claim["paused_by"]) == (True, "")
    with begin(engine) as conn:
        assert pauses.ask_pause(conn, job, "alice")  # from now on it waits for her
    assert row_of(engine, job)["paused_by"] == "alice"
    with pytest.raises(LeaseLost), begin(engine) as conn:
        pauses.stand(conn, job, 0, "running", "", {})


def test_what_is_cancelled_or_over_is_not_paused(engine: Engine) -> None:
    job = Desk(engine).running()
    with begin(engine) as conn:
        pauses.stand(conn, job, 1, "paused", "Waits.", {}, ask=True)
        jobs.ask_cancel(conn, job)
    assert row_of(engine, job)["state"] == "cancelling"
    with begin(engine) as conn:
        assert not pauses.ask_resume(conn, job)
        jobs.finish_job(conn, job, 1, "cancelled")
        assert not pauses.ask_pause(conn, job, "alice")


def test_no_host_is_written_down_as_begun_after_a_pause_and_those_at_work_go_on(engine: Engine) -> None:
    desk = Desk(engine)
    job, (first, second) = desk.submit(), desk.hosts[:2]
    desk.claim()
    with begin(engine) as conn:
        results.mark_dispatched(conn, job, [first], "jid-1", "salt", 1, begins=True)
        pauses.ask_pause(conn, job, "alice")
    with pytest.raises(PauseAsked), begin(engine) as conn:
        results.mark_dispatched(conn, job, [second], "jid-2", "salt", 1, begins=True)
    with begin(engine) as conn:
        results.mark_dispatched(conn, job, [first], "jid-3", "salt", 1, step={first: 2})
    rows = desk.rows(job)
    assert (rows[first]["handle"], rows[second]["state"]) == ("jid-3", "pending")
    with begin(engine) as conn:
        pauses.ask_resume(conn, job)
        results.mark_dispatched(conn, job, [second], "jid-4", "salt", 1, begins=True)


def test_a_job_that_is_given_back_says_which_claim_did_so_and_keeps_where_it_stood(engine: Engine) -> None:
    job = Desk(engine).running()
    with begin(engine) as conn:
        pauses.give_back(conn, job, 1, "Its worker was stopped.")
    row = row_of(engine, job)
    told = row["worker"], row["reason"], row["progress"]
    assert told == (None, "Its worker was stopped.", {"released": 1})
    with begin(engine) as conn:
        leases.claim_this(conn, job, "w2", 30)
        pauses.keep(conn, job, 2, {"batch": 3, "deaths": 1})
        pauses.give_back(conn, job, 2, "")
    assert row_of(engine, job)["progress"] == {"batch": 3, "deaths": 1, "released": 2}
