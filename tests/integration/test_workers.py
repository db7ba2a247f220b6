"""Workers that are killed, stopped or started again, with real processes and a real database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from omserver_client import Client
from omserver_master.store import leases
from omserver_master.store.engine import begin
from omserver_master.store.schema import jobs
from tests.integration.conftest import MODULES
from tests.system import CHECKOUT, System, freeze, wait_for_end


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[System]:
    """A master with one worker and two hosts."""
    system = System(tmp_path, modules_dir=MODULES, workers=1)
    for name in ("alpha", "beta"):
        system.add_hosts([name], system.add_connection(f"here-{name}", "local"))
    system.start()
    yield system
    system.close()


def worker_of(system: System) -> psutil.Process:
    """Its one worker, which may start a moment after the master answers."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in psutil.Process(system.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "worker" in " ".join(child.cmdline()):
                    return child
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def begun(client: Client, seconds: int = 30) -> int:
    """A job whose hosts are at work."""
    job: int = client.submit("2024", {"seconds": str(seconds)}, ["alpha", "beta"], timeout=60)["job"]["id"]
    deadline = time.monotonic() + 20
    while client.job(job)["counts"] != {"dispatched": 2}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def test_a_killed_worker_leaves_unknown_hosts_with_a_reason_and_another_takes_over(lone: System) -> None:
    with lone.client() as client:
        job = begun(client)
        worker_of(lone).kill()
        end = wait_for_end(client, job, 30)
        assert end["state"] == "interrupted"
        assert end["counts"] == {"unknown": 2}
        assert "restart" in client.results(job)["results"][0]["reason"]
        good = client.submit("2001", {"word": "x"}, ["alpha"])["job"]["id"]
        assert wait_for_end(client, good)["state"] == "succeeded"


def test_a_job_that_was_queued_while_no_worker_lived_is_run_by_the_next(lone: System) -> None:
    with lone.client() as client:
        worker = freeze(worker_of(lone), lone.engine)
        job = client.submit("2001", {"word": "x"}, ["alpha"])["job"]["id"]
        time.sleep(1)
        assert client.job(job)["state"] == "queued"
        worker.kill()
        assert wait_for_end(client, job)["state"] == "succeeded"


def test_jobs_survive_a_master_that_is_killed(lone: System) -> None:
    with lone.client() as client:
        job = begun(client, seconds=2)
    worker = worker_of(lone)
    os.kill(lone.pid, signal.SIGKILL)
    worker.wait(20)
    lone.stop()
    lone.start()
    with lone.client() as client:
        assert client.job(job)["state"] == "succeeded"


def test_a_worker_whose_master_died_before_it_was_ready_ends(lone: System) -> None:
    """It is not that master's child, as if the master had been killed while the worker loaded its code."""
    argv = [sys.executable, "-m", "omserver_master", "worker", "--parent", str(lone.pid)]
    assert subprocess.run(argv, env=lone.environment, cwd=CHECKOUT, timeout=20, check=False).returncode == 0


def test_a_stopped_master_says_what_it_does_not_know(lone: System) -> None:
    with lone.client() as client:
        job = begun(client)
    lone.stop()
    lone.start()
    with lone.client() as client:
        assert wait_for_end(client, job, 30)["state"] == "interrupted"
        assert client.job(job)["counts"] == {"unknown": 2}


def test_a_worker_that_is_told_to_stop_several_times_stops_all_the_same(lone: System) -> None:
    for _ in range(5):
        worker = worker_of(lone)
        with suppress(psutil.NoSuchProcess):  # it may be quick
            for _ in range(20):
                worker.send_signal(signal.SIGTERM)
        worker.wait(5)
        deadline = time.monotonic() + 10
        while not any("worker" in " ".join(c.cmdline()) for c in psutil.Process(lone.pid).children()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)  # until it has set its own handlers


def test_a_message_is_not_accepted_again_after_a_restart(lone: System) -> None:
    with lone.client() as client:
        first = client.submit("2001", {"word": "x"}, ["alpha"], key="the-same-key")["job"]["id"]
        lone.stop()
        lone.start()
        again = client.submit("2001", {"word": "x"}, ["alpha"], key="the-same-key")
    assert again["repeated"]
    assert again["job"]["id"] == first


def test_a_worker_that_slept_through_its_lease_writes_nothing_more(lone: System) -> None:
    """Another worker has settled the job meanwhile: what the sleeper finds out later changes nothing."""
    with lone.client() as client:
        job = begun(client, seconds=4)
        with begin(lone.engine) as conn:
            worker = conn.execute(select(jobs.c.worker).where(jobs.c.id == job)).scalar_one()
            assert leases.give_up_leases(conn, worker) == 1
            assert leases.claim_this(conn, job, "another", 60) is not None
        time.sleep(8)
        assert client.job(job)["counts"] == {"dispatched": 2}
        assert client.job(job)["state"] == "running"
