"""Workers that die or stop in the middle: the next one asks the engine by its handle; nothing runs twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from omserver_client import Client
from tests.integration.conftest import MODULES
from tests.system import CHECKOUT, System, freeze, wait_for_end

RULES = {"long-*": {"seconds": 600}, "slow-*": {"seconds": 4}, "brief-*": {"seconds": 1}, "quick-*": {}}


class Place:
    """One worker, and invented hosts that outlive it and keep a ledger of what they were given."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger"
        socket = folder / "sim.socket"
        files = [str(socket), json.dumps(RULES), str(self.ledger)]
        command = [sys.executable, "-m", "omserver_master.backends.sim.fleet", *files]
        self.fleet = subprocess.Popen(command, cwd=CHECKOUT)
        while not socket.exists():
            assert self.fleet.poll() is None
            time.sleep(0.05)
        self.system = System(folder / "home", modules_dir=MODULES, workers=1)
        way = self.system.add_connection("invented", "sim", {"socket": str(socket)})
        self.system.add_hosts(["long-1", "long-2", "slow-1", "slow-2", "brief-1", "quick-1"], way)
        self.system.start()

    def close(self) -> None:
        self.system.close()
        self.fleet.kill()
        self.fleet.wait(10)

    def worker(self) -> psutil.Process:
        children = psutil.Process(self.system.pid).children()
        (worker,) = [child for child in children if "worker" in " ".join(child.cmdline())]
        return worker

    def taken(self) -> list[str]:
        """The hosts in the order in which they took work."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [line.split()[-1] for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with place.system.client() as client:
        yield client


def wait_taken(place: Place, number: int) -> None:
    deadline = time.monotonic() + 30
    while len(place.taken()) < number:
        assert time.monotonic() < deadline, place.taken()
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("module", "how"),
    [("2002", signal.SIGKILL), ("2022", signal.SIGKILL), ("2021", signal.SIGKILL), ("2021", signal.SIGTERM)],
)
def test_a_worker_that_ends_loses_nothing_and_repeats_nothing(
    place: Place, client: Client, module: str, how: signal.Signals, tmp_path: Path
) -> None:
    params = {"path": str(tmp_path / "unused")} if module == "2022" else {}
    hosts = ["slow-1", "slow-2", "quick-1"]
    job = client.submit(module, params, hosts, timeout=30, confirm=3)["job"]["id"]
    wait_taken(place, 3)
    place.worker().send_signal(how)
    end = wait_for_end(client, job, 60)
    assert (end["state"], end["counts"]) == ("succeeded", {"ok": 3})
    assert sorted(place.taken()) == sorted(hosts)


def test_a_module_of_two_steps_goes_on_with_its_second(place: Place, client: Client) -> None:
    job = client.submit("2003", {}, ["slow-1"], timeout=40)["job"]["id"]
    wait_taken(place, 2)
    place.worker().kill()
    assert wait_for_end(client, job, 60)["state"] == "succeeded"
    assert place.taken() == ["slow-1", "slow-1"]


def test_module_code_that_is_killed_goes_on_in_another_process(place: Place, client: Client) -> None:
    job = client.submit("2003", {}, ["brief-1"], timeout=40)["job"]["id"]
    for number in (1, 2):  # once under each of its two steps
        wait_taken(place, number)
        for child in place.worker().children():
            child.kill()
    end = wait_for_end(client, job, 60)
    assert (end["state"], end["reason"]) == ("succeeded", "")
    assert place.taken() == ["brief-1", "brief-1"]


def test_a_master_that_is_killed_with_its_workers_goes_on_after_its_start(
    place: Place, client: Client
) -> None:
    job = client.submit("2021", {}, ["slow-1", "quick-1"], timeout=60, confirm=2)["job"]["id"]
    wait_taken(place, 2)
    group = os.getpgid(place.system.pid)
    os.killpg(group, signal.SIGKILL)
    place.system.stop()
    place.system.start()
    with place.system.client() as again:
        assert wait_for_end(again, job, 90)["state"] == "succeeded"
    assert sorted(place.taken()) == ["quick-1", "slow-1"]


def test_a_cancel_while_no_worker_lives_stops_what_the_dead_one_had_sent(
    place: Place, client: Client
) -> None:
    worker = place.worker()
    job = client.submit("2021", {}, ["long-1", "long-2"], timeout=60, confirm=2)["job"]["id"]
    wait_taken(place, 2)
    freeze(worker, place.system.engine)
    client.cancel(job)
    worker.kill()
    assert wait_for_end(client, job, 60)["counts"] == {"cancelled": 2}


def test_a_job_that_kills_every_worker_is_given_up(place: Place, client: Client) -> None:
    job = client.submit("2002", {}, ["slow-1"], timeout=600)["job"]["id"]
    wait_taken(place, 1)
    from sqlalchemy import update

    from omserver_master.store.engine import begin
    from omserver_master.store.schema import jobs

    with begin(place.system.engine) as conn:
        died = {"progress": {"deaths": 4}, "attempt": 9, "lease_until": None}
        conn.execute(update(jobs).where(jobs.c.id == job).values(**died))
    end = wait_for_end(client, job, 60)
    assert end["state"] == "interrupted"
    (row,) = client.results(job)["results"]
    assert row["state"] == "unknown"
    assert row["reason"].startswith("5 workers stopped while they had this job.")
