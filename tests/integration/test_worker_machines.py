"""Two machines with a worker each, on one database: what one machine serves runs there and nowhere else.

The machines are names here, as the setting MACHINE gives them; everything else of theirs is this machine's.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from omserver_client import Client
from omserver_client.errors import BadRequest
from omserver_master.store import clock
from omserver_master.store.engine import begin, read
from omserver_master.store.schema import jobs, workers
from tests.ending import Guard
from tests.integration.conftest import MODULES
from tests.system import CHECKOUT, System, wait_for_end


class Machine:
    """A machine with one worker, called like the machine."""

    def __init__(self, name: str, first: System) -> None:
        self.name = name
        self._environment = first.environment | {"OMSERVER_MACHINE": name}
        self._log = first.home / "logs" / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "omserver_master", "worker", "--name", self.name]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, env=self._environment, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._guard = Guard(self._process.pid)

    def kill(self) -> None:
        if self._guard is not None:
            self._guard.call_off()
            self._guard = None
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


class Site:
    """A master with a worker on gd-1, a worker on sz-1, and a host of the kind local on each."""

    def __init__(self, folder: Path) -> None:
        self.system = System(folder, modules_dir=MODULES, workers=1, machine="gd-1")
        self.system.start()
        self.far = Machine("sz-1", self.system)
        self.far.start()
        with self.system.client() as client:
            for host, machines in (("near", None), ("far", ["sz-1"]), ("both", ["gd-1", "sz-1"])):
                client.add_connection(f"to-{host}", "local", machines=machines)
                client.add_host(host, ways=[{"connection": f"to-{host}"}])
            until(lambda: len(self._alive(client)) == 2)

    def run(self, client: Client, *hosts: str) -> int:
        return int(client.submit("2001", {"word": "x"}, list(hosts))["job"]["id"])

    def worker_of(self, job: int) -> str:
        with read(self.system.engine) as conn:
            return str(conn.execute(select(jobs.c.worker).where(jobs.c.id == job)).scalar_one())

    def forget_far(self) -> None:
        """As if 30 seconds had passed since the worker on sz-1 was killed."""
        with begin(self.system.engine) as conn:
            this = update(workers).where(workers.c.name == self.far.name)
            conn.execute(this.values(last_seen=clock.now(conn) - 31))

    def _alive(self, client: Client) -> set[str]:
        return {row["machine"] for row in client.status()["workers"] if row["alive"]}

    def close(self) -> None:
        self.far.kill()
        self.system.close()


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("machines"))
    yield made
    made.close()


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with site.system.client() as client:
        yield client


def test_a_job_runs_on_the_machine_that_serves_its_hosts(site: Site, client: Client) -> None:
    assert client.connection("to-near")["machines"] == ["gd-1"], "where it was added"
    near, far = ([site.run(client, host, "both") for _ in range(4)] for host in ("near", "far"))
    assert {wait_for_end(client, job)["state"] for job in near + far} == {"succeeded"}
    assert {site.worker_of(job) for job in far} == {"sz-1"}
    assert "sz-1" not in {site.worker_of(job) for job in near}
    with pytest.raises(BadRequest, match=r"near \(gd-1\); far \(sz-1\)\. Run"):
        site.run(client, "near", "far")


def test_a_job_of_a_machine_that_is_gone_waits_and_says_so_until_it_is_back(
    site: Site, client: Client
) -> None:
    site.far.kill()
    site.forget_far()
    job = site.run(client, "far")
    assert client.job(job)["why"]["text"] == "No worker on machine sz-1 is running."
    assert wait_for_end(client, site.run(client, "both"))["state"] == "succeeded"
    assert client.job(job)["state"] == "queued", "and nobody else takes it"
    site.far.start()
    assert wait_for_end(client, job)["state"] == "succeeded"
    assert site.worker_of(job) == "sz-1"


def test_a_job_that_was_begun_waits_for_its_machine_and_can_be_cancelled_without(
    site: Site, client: Client
) -> None:
    """The worker elsewhere never takes it up, though its claim is over."""
    job = int(client.submit("2024", {"seconds": "30"}, ["far"], timeout=60)["job"]["id"])
    until(lambda: client.job(job)["counts"] == {"dispatched": 1})
    site.far.kill()
    site.forget_far()
    with begin(site.system.engine) as conn:
        conn.execute(update(jobs).where(jobs.c.id == job).values(lease_until=clock.now(conn) - 1))
    assert client.job(job)["why"]["code"] == "no_machine"
    assert wait_for_end(client, site.run(client, "both"))["state"] == "succeeded"
    assert (client.job(job)["state"], site.worker_of(job)) == ("running", "sz-1")
    client.cancel(job)
    end = wait_for_end(client, job)
    assert (end["state"], end["counts"]) == ("failed", {"unknown": 1})
    assert "could not be stopped" in client.results(job)["results"][0]["reason"]
    site.far.start()


def test_jobs_that_wait_follow_their_connection_to_another_machine(site: Site, client: Client) -> None:
    site.far.kill()
    site.forget_far()
    job = site.run(client, "far")
    client.set_connection("to-far", machines=["gd-1"])
    assert wait_for_end(client, job)["state"] == "succeeded"
    assert site.worker_of(job) != "sz-1"
