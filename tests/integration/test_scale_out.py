"""Two masters, two Celery workers, MariaDB and Redis, all real: each dies, and no job is lost or doubled.

The machines are folders here: each master and each Celery worker has a data folder of its own with the site's
key in it, as on machines of their own. Claims run out after 6 s instead of 30 (the campaign's pace).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from campaign.process import PACE
from omserver_client import Client, LoginRequired, connect
from omserver_master.settings import open_home
from omserver_master.store.engine import make_engine, read
from omserver_master.store.schema import jobs
from tests.brokers import Redis
from tests.databases import mariadb_url
from tests.ending import Guard
from tests.ports import free_port
from tests.system import CHECKOUT, System, wait_for_end

ENTRY = (sys.executable, "-m", "campaign.process")
MODULES = CHECKOUT / "campaign" / "modules"
#: Work that may never be done twice.
ONCE = "3003"
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
HOSTS = [f"h-{number}" for number in range(1, 7)]


class FirstMaster(System):
    argv = (*ENTRY, "master")


class SecondMaster(FirstMaster):
    """Another machine: what it needs was copied from the first one's data folder."""

    def __init__(self, home: Path, first: System, **settings: Any) -> None:
        self._first = first
        super().__init__(home, **settings)

    def _furnish(self) -> None:
        bring_keys(self._first, self)
        self.passwords = self._first.passwords
        self.engine = make_engine(self.settings.database_url)


class CeleryMachine:
    """A machine with ``omserver celery`` on it."""

    def __init__(self, home: Path, first: System) -> None:
        self.environment = first.environment | {"OMSERVER_HOME": str(home)}
        self.settings = System.settings.fget(self)  # type: ignore[attr-defined]
        bring_keys(first, self)
        self.log = home / "logs" / "celery.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*ENTRY, "celery"], env=self.environment, cwd=CHECKOUT, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._unguard()
        self._guard = Guard(self._process.pid)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def has(self, worker: str) -> bool:
        """Whether the worker of that name lives here."""
        return worker.split("-")[-2] == str(self.pid)

    def loses_power(self) -> None:
        """SIGKILL to everything on it."""
        for process in [*psutil.Process(self.pid).children(recursive=True), psutil.Process(self.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)

    def ask_to_stop(self) -> None:
        """SIGTERM to ``omserver celery``, which ends its workers."""
        assert self._process is not None
        self._process.terminate()

    def stopped(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(20)

    def _unguard(self) -> None:
        if self._guard is not None:
            self._guard.call_off()

    def close(self) -> None:
        self._unguard()
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


def bring_keys(first: System, to: Any) -> None:
    home = open_home(to.settings)
    shutil.copy2(first.home / "site.key", home / "site.key")
    for key in (first.home / "keys").glob("*.key"):
        shutil.copy2(key, home / "keys")


class Fleet:
    """The invented hosts, in a process that nobody kills, with their ledger."""

    def __init__(self, folder: Path) -> None:
        self.socket, self._ledger = folder / "sim", folder / "ledger"
        rules = json.dumps({"*": {"ending": "obeys"}})
        argv = [sys.executable, "-m", "campaign.fleet", str(self.socket), rules, str(self._ledger)]
        self._process = subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL)
        until(self.socket.exists)

    def taken(self) -> Counter[tuple[str, str]]:
        """How often each host began each job's work, by the job's word and the host."""
        lines = [json.loads(line) for line in self._ledger.read_text().splitlines()]
        return Counter((line["command"].split()[1], line["host"]) for line in lines if line["did"] == "took")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


class Front:
    """nginx before both masters, as deploy/nginx has it."""

    def __init__(self, folder: Path, masters: list[System]) -> None:
        self.port = free_port()
        stream = (CHECKOUT / "deploy" / "nginx" / "masters.conf").read_text()
        for address, master in zip(("10.0.0.11:11511", "10.0.0.12:11511"), masters, strict=True):
            stream = stream.replace(address, f"127.0.0.1:{master.port}")
        stream = stream.replace("listen 11510", f"listen 127.0.0.1:{self.port}")
        (folder / "nginx.conf").write_text(
            f"load_module {STREAM};\ndaemon off;\nmaster_process off;\npid {folder}/nginx.pid;\n"
            f"error_log {folder}/nginx.log;\nevents {{}}\n{stream}"
        )
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
        argv = [nginx, "-p", folder, "-c", folder / "nginx.conf"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class Site:
    """All of it."""

    def __init__(self, folder: Path, database: str, redis: Redis) -> None:
        self.redis, self.fleet = redis, Fleet(folder)
        common = {"database_url": database, "executor": "celery", "broker_url": redis.url, "workers": 1}
        common |= {"modules_dir": MODULES}
        self.one = FirstMaster(folder / "one", **common)
        self.one.environment[PACE] = "0.2"
        sim = self.one.add_connection("invented", "sim", {"socket": str(self.fleet.socket)})
        self.one.add_hosts(HOSTS, sim)
        self.one.add_hosts(["here"], self.one.add_connection("here", "local"))
        self.two = SecondMaster(folder / "two", self.one, **common)
        self.two.environment[PACE] = "0.2"
        self.machines = [CeleryMachine(folder / name, self.one) for name in ("celery-1", "celery-2")]
        for machine in self.machines:
            machine.start()
        self.one.start()
        self.two.start()
        with self.one.client() as client:
            self.session = client.session
        self.front = Front(folder, [self.one, self.two])
        until(lambda: sum(row["alive"] for row in self.status()["workers"]) == 2, 60)

    def status(self) -> dict[str, Any]:
        with self.client(self.one) as client:
            return dict(client.call("status"))

    def client(self, master: System) -> Client:
        """A client of either master, in the one session that was begun at the first."""
        client = master.client(user=None)
        client.session = self.session
        return client

    def through_nginx(self) -> Client:
        """A client that knows one address for both masters."""
        client = connect("127.0.0.1", self.front.port, self.one.home / "keys" / "omctl.key")
        client.session = self.session
        return client

    def close(self) -> None:
        self.front.close()
        for machine in self.machines:
            machine.close()
        self.one.stop(signal.SIGKILL)
        self.two.stop(signal.SIGKILL)
        self.one.engine.dispose()
        self.two.engine.dispose()
        self.fleet.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if not STREAM.exists():
        pytest.skip("libnginx-mod-stream is not installed (see tests/install)")
    folder = Path(tempfile.mkdtemp(prefix="omscale", dir="/tmp"))
    redis = Redis().start()
    with mariadb_url() as database:
        site = Site(folder, database, redis)
        yield site
        site.close()
    redis.close()
    shutil.rmtree(folder)


@pytest.fixture
def one(site: Site) -> Iterator[Client]:
    with site.client(site.one) as client:
        yield client


@pytest.fixture
def two(site: Site) -> Iterator[Client]:
    with site.client(site.two) as client:
        yield client


def until(so: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.05)


def submit(client: Client, word: str, seconds: float = 0, hosts: list[str] = HOSTS, **options: Any) -> int:
    """A job of work that may never be done twice."""
    params = {"token": word, "seconds": str(seconds)}
    return int(client.submit(ONCE, params, hosts, timeout=30, **options)["job"]["id"])


def done_once(site: Site, word: str, hosts: list[str] = HOSTS) -> bool:
    return {host: site.fleet.taken()[word, host] for host in hosts} == dict.fromkeys(hosts, 1)


def test_both_masters_take_jobs_and_tell_of_each_others(site: Site, one: Client, two: Client) -> None:
    """The session was begun at the first master; each job is watched through the other one."""
    begun = {submit(one, "from-one"): two, submit(two, "from-two"): one}
    begun[submit(one, "here", hosts=["here"])] = two
    assert [wait_for_end(client, job, 20)["state"] for job, client in begun.items()] == ["succeeded"] * 3
    assert done_once(site, "from-one")
    assert done_once(site, "from-two")


def test_a_session_that_ended_at_one_master_is_over_at_the_other(site: Site) -> None:
    with site.one.client(user=None) as here, site.two.client(user=None) as there:
        there.session = here.login("admin", site.one.passwords["admin"])["session"]
        assert there.whoami()["user"] == "admin"
        here.logout()
        with pytest.raises(LoginRequired):
            there.whoami()


def test_without_redis_jobs_are_taken_and_run_all_the_same(site: Site, one: Client, two: Client) -> None:
    site.redis.kill()
    began = time.monotonic()
    begun = [submit(client, f"no-redis-{number}") for number in range(3) for client in (one, two)]
    assert time.monotonic() - began < 6
    assert {wait_for_end(two, job, 20)["state"] for job in begun} == {"succeeded"}
    site.redis.start()
    site.redis.say("FLUSHALL")
    assert wait_for_end(two, submit(one, "redis-is-back"), 20)["state"] == "succeeded"
    assert {site.fleet.taken()[f"no-redis-{number}", host] for number in range(3) for host in HOSTS} == {2}


def test_a_frozen_redis_delays_no_acknowledgement(site: Site, one: Client) -> None:
    site.redis.freeze()
    try:
        began = time.monotonic()
        job = submit(one, "frozen")
        assert time.monotonic() - began < 2
        assert wait_for_end(one, job, 20)["state"] == "succeeded"
    finally:
        site.redis.thaw()


def test_without_any_celery_worker_a_job_waits_and_says_so(site: Site, two: Client) -> None:
    for machine in site.machines:
        machine.ask_to_stop()
    assert [machine.stopped() for machine in site.machines] == [0, 0]
    job = submit(two, "waits")
    assert two.job(job)["why"]["code"] == "no_worker"
    for machine in site.machines:
        machine.start()
    assert wait_for_end(two, job, 30)["state"] == "succeeded"


def test_a_machine_that_dies_leaves_its_jobs_to_the_other(site: Site, one: Client) -> None:
    job = submit(one, "power", seconds=3)
    until(lambda: one.job(job)["counts"] == {"dispatched": len(HOSTS)})
    with read(site.one.engine) as conn:
        worker = conn.execute(select(jobs.c.worker).where(jobs.c.id == job)).scalar_one()
    lost = next(machine for machine in site.machines if machine.has(worker))
    lost.loses_power()
    assert wait_for_end(one, job, 30)["state"] == "succeeded"
    assert done_once(site, "power")
    lost.start()


def test_a_master_that_dies_loses_nothing(site: Site) -> None:
    """The one to which nginx brings all that this machine calls; the other one takes its place."""
    with site.through_nginx() as client:
        client.whoami()
        (dies,) = (master for master in (site.one, site.two) if is_called(master))
        job = submit(client, "master", seconds=1, key="the-same-key")
        os.kill(dies.pid, signal.SIGKILL)
        assert dies.process
        dies.process.wait(10)  # until then nginx may still bring somebody to it
    with site.through_nginx() as client:
        assert submit(client, "master", seconds=1, key="the-same-key") == job
        assert wait_for_end(client, job, 20)["state"] == "succeeded"
    assert done_once(site, "master")


def is_called(master: System) -> bool:
    """Whether anybody has a connection to *master*."""
    found = psutil.Process(master.pid).net_connections("tcp")
    return any(it.laddr.port == master.port and it.status == psutil.CONN_ESTABLISHED for it in found)


def test_no_log_and_no_command_line_shows_the_brokers_password(site: Site) -> None:
    logs = [site.one.log, site.two.log, *(machine.log for machine in site.machines)]
    assert all(site.redis.password not in log.read_text() for log in logs)
    alive = [
        master.pid for master in (site.one, site.two) if master.process and master.process.poll() is None
    ]
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in (*alive, site.machines[0].pid)]
    assert all(site.redis.password not in line for line in lines)
