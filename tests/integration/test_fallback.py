"""Hosts with several ways: which one is taken, what the row says of the others, and who may move on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_client import BadRequest, Client
from omserver_master.store import connections, hosts
from omserver_master.store.engine import begin
from tests.integration.conftest import MODULES
from tests.system import CHECKOUT, System, wait_for_end

#: The invented host that every one of the tests' hosts is on its first way.
ENDLESS = {"*": {"seconds": 600}}


class InventedWay:
    """The process behind a connection of the kind ``sim``, which can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "sim.socket"
        self.ledger = folder / "ledger"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        module = "omserver_master.backends.sim.fleet"
        files = [str(self.socket), json.dumps(ENDLESS), str(self.ledger)]
        self._process = subprocess.Popen([sys.executable, "-m", module, *files], cwd=CHECKOUT)
        while not self.socket.exists():
            assert self._process.poll() is None
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def taken(self) -> int:
        """How many times a host took work."""
        return len(self.ledger.read_text().splitlines()) if self.ledger.exists() else 0


class Place:
    """A site whose hosts ``two-ways`` (sim, then local) and ``one-way`` (sim) are reached like that."""

    def __init__(self, folder: Path) -> None:
        self.way = InventedWay(folder)
        self.system = System(folder / "home", modules_dir=MODULES, workers=1)
        sim = self.system.add_connection("invented", "sim", {"socket": str(self.way.socket)})
        local = self.system.add_connection("here", "local")
        self.system.add_hosts(["two-ways", "one-way"], sim)
        with begin(self.system.engine) as conn:
            found = hosts.hosts_by_name(conn, ["two-ways"])
            connections.link_host(conn, found["two-ways"]["id"], local, "two-ways", position=1)
        self.system.start()

    def close(self) -> None:
        self.system.close()
        self.way.stop()


@pytest.fixture(scope="module")
def module_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("ways"))
    yield place
    place.close()


@pytest.fixture
def place(module_place: Place) -> Iterator[Place]:
    yield module_place
    module_place.way.stop()
    module_place.way.ledger.unlink(missing_ok=True)


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with place.system.client() as client:
        yield client


def row_of(client: Client, job: int) -> dict[str, Any]:
    (row,) = client.results(job)["results"]
    return dict(row)


def begun(client: Client, place: Place, module: str, params: dict[str, str], **options: Any) -> int:
    """A job of which the invented host has taken the work."""
    place.way.start()
    time.sleep(2.2)  # a look at a way stays good for two seconds
    job: int = client.submit(module, params, ["two-ways"], **options)["job"]["id"]
    deadline = time.monotonic() + 20
    while not place.way.taken():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def test_a_way_that_is_down_is_passed_over_and_the_row_says_so(place: Place, client: Client) -> None:
    job = client.submit("2001", {"word": "x"}, ["two-ways"])["job"]["id"]
    assert wait_for_end(client, job)["state"] == "succeeded"
    row = row_of(client, job)
    assert (row["state"], row["connection"], row["reason"]) == ("ok", "here", "")
    assert row["passed_over"].startswith("invented: The process of the invented hosts does not answer")


def test_with_no_way_up_the_row_waits_with_one_reason_and_goes_on_when_it_is_back(
    place: Place, client: Client
) -> None:
    job = client.submit("2001", {"word": "x"}, ["one-way"])["job"]["id"]
    deadline = time.monotonic() + 20
    while "invented" not in client.job(job)["reason"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "1 host waits" in client.job(job)["reason"]
    assert row_of(client, job)["state"] == "pending"
    place.way.start()
    while row_of(client, job)["state"] == "pending":
        assert time.monotonic() < deadline + 20
        time.sleep(0.1)
    assert client.job(job)["reason"] == ""
    client.cancel(job)
    wait_for_end(client, job)


def test_work_that_only_reads_moves_on_when_its_way_goes_down(place: Place, client: Client) -> None:
    job = begun(client, place, "2002", {})
    place.way.stop()
    end = wait_for_end(client, job, 40)
    row = row_of(client, job)
    assert (end["state"], row["state"], row["connection"]) == ("succeeded", "ok", "here")
    assert row["passed_over"].startswith("invented: ")


@pytest.mark.parametrize("module", ["2022", "2021"])
def test_other_work_does_not_move_where_its_first_try_is_not_proved_over(
    place: Place, client: Client, module: str, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    params = {"path": str(path)} if module == "2022" else {}
    job = begun(client, place, module, params, timeout=5, confirm=1)
    place.way.stop()
    wait_for_end(client, job, 40)
    row = row_of(client, job)
    assert (row["state"], row["connection"], row["passed_over"]) == ("timed_out", "invented", "")
    assert not path.exists()


def test_a_module_goes_only_over_ways_of_the_kinds_that_it_names(place: Place, client: Client) -> None:
    with pytest.raises(BadRequest, match=r"one-way is reached over invented \(sim\); .* with local only"):
        client.preview("2023", {}, ["one-way"])
    place.way.start()
    time.sleep(2.2)
    job = client.submit("2023", {}, ["two-ways"])["job"]["id"]
    assert wait_for_end(client, job)["state"] == "succeeded"
    assert row_of(client, job)["connection"] == "here"
    assert place.way.taken() == 0
