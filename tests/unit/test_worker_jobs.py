"""Which jobs a worker believes to have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from omserver_client.errors import Unavailable
from omserver_master.errors import LeaseLost
from omserver_master.jobs import claiming
from omserver_master.jobs.bell import ANY, PASS_ON, Bell
from omserver_master.jobs.claimed import ClaimedJob
from omserver_master.jobs.claiming import MOST_JOBS
from omserver_master.jobs.recorder import LEASE
from omserver_master.jobs.worker import AT_ONCE, Worker
from omserver_master.settings import load_settings, open_home
from omserver_master.store.engine import make_engine
from omserver_master.store.limits import Limits
from omserver_master.store.sitekey import make_site_key


class LostJob:
    """A claim that ran out while the database was away."""

    id = 17
    paused = False

    def wake(self) -> None:
        """There is news."""

    def run(self) -> None:
        raise LeaseLost


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Makes a worker with settings."""
    engine = make_engine("sqlite://")

    def make(bell: Bell | None = None, **more: str) -> Worker:
        settings = load_settings({"OMSERVER_HOME": str(tmp_path / "home"), **more})
        open_home(settings)
        make_site_key(settings.site_key)
        return Worker("w", settings, engine, cast(Any, None), bell)

    yield make
    engine.dispose()


def claimed(worker: Worker, monkeypatch: pytest.MonkeyPatch, queue: list[dict[str, str]]) -> int:
    """How many jobs of *queue* the worker takes in one transaction."""
    monkeypatch.setattr(claiming, "claim", lambda *_: queue.pop(0) if queue else None)
    return len(worker._claim(cast(Any, None), AT_ONCE))


def test_several_jobs_are_claimed_at_once_and_only_one_where_something_is_held_for_it(
    make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    free, locking = {"lock_mode": ""}, {"lock_mode": "queue"}
    worker = make()
    assert claimed(worker, monkeypatch, [free] * 9) == AT_ONCE
    assert claimed(worker, monkeypatch, [free] * 2) == 2
    assert claimed(worker, monkeypatch, [locking] * 9) == 1
    worker._most = Limits(per_person=3)
    assert claimed(worker, monkeypatch, [free] * 9) == 1


def test_a_claimed_job_waits_for_the_database_no_longer_than_its_claim_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omserver_master.jobs.claimed.LEASE", 0.05)
    monkeypatch.setattr("omserver_master.jobs.claimed.TRY_AGAIN", 0.01)
    job, looks = cast(Any, ClaimedJob.__new__(ClaimedJob)), []
    job.id, job._engine = 17, make_engine("sqlite://")

    def look(conn: object) -> None:
        looks.append(conn)
        raise Unavailable

    with pytest.raises(Unavailable):
        job._insist(look)
    assert len(looks) > 1


def test_a_job_that_is_claimed_anew_is_kept_when_its_lost_claim_is_noticed(
    make: Callable[..., Worker],
) -> None:
    worker = make()
    lost, anew = (cast(ClaimedJob, LostJob()) for _ in range(2))
    worker._jobs |= {lost, anew}
    worker._run_job(lost)
    assert worker._running() == [anew]


def test_a_worker_whose_clock_is_wrong_goes_by_the_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": 1, "attempt": 1, "progress": None, "state": "running", "paused_by": "", "module": "1003"}
    row |= {"title": "", "user": "alice", "lease_until": 2_000_000_000.0 + LEASE}
    monkeypatch.setattr(time, "time", lambda: 5.0)
    nothing, roads = cast(Any, None), cast(Any, SimpleNamespace(names=dict))
    job = ClaimedJob(cast(Any, row), nothing, nothing, nothing, roads, Path(), nothing, lambda _: None)
    assert job._now() == pytest.approx(2_000_000_000.0, abs=5.0)


def test_a_full_worker_looks_at_the_queue_as_soon_as_a_job_has_ended(make: Callable[..., Worker]) -> None:
    left, right = Bell.pair()
    with closing(left), closing(right):
        worker = make(right)
        jobs = [cast(ClaimedJob, LostJob()) for _ in range(MOST_JOBS)]
        worker._jobs |= set(jobs)
        assert not worker._claim_some()
        worker._run_job(jobs[0])
        began = time.monotonic()
        assert right.wait(20.0) == set()
        assert time.monotonic() - began < 10


def test_a_full_worker_that_was_rung_for_a_new_job_passes_it_on_once(make: Callable[..., Worker]) -> None:
    left, right = Bell.pair()
    with closing(left), closing(right):
        worker = make(right)
        worker._jobs |= {cast(ClaimedJob, LostJob()) for _ in range(MOST_JOBS)}
        for ring, passed in ((ANY, {PASS_ON}), (PASS_ON, set()), (17, set())):
            left.ring(ring)
            worker._rest()
            assert not worker._claim_some()
            assert left.wait(0) == passed
            assert not worker._claim_some()
            assert left.wait(0) == set()
