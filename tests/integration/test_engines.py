"""One job over hosts of all engines, each real; and a host that is reached by two of them."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from omserver_client import Client
from omserver_master.backends import KINDS, Target, settings_of
from omserver_master.store import connections, hosts
from omserver_master.store.engine import begin
from tests.contract.rig import Rig, load_rig
from tests.fleet.fleet import SaltFleet
from tests.system import CHECKOUT, System, wait_for_end

REAL = tuple(kind for kind in KINDS if kind not in ("sim", "local"))


def alias(kind: str, host: Target) -> str:
    """Our name of a host: several kinds reach the same machine, and a name is there once."""
    return f"{kind}.{host.remote_id or host.name}"


class Everywhere:
    """A site with two hosts of every real kind, and one host with two ways: Salt first, then ssh."""

    def __init__(self, folder: Any, rigs: list[Rig]) -> None:
        self.system = System(folder, modules_dir=CHECKOUT / "modules", workers=1)
        self.names: list[str] = []
        self._ways = {rig.kind: self._add(rig) for rig in rigs}
        salt, ssh = (next(rig for rig in rigs if rig.kind == kind) for kind in ("salt", "ssh"))
        self._add_with_two_ways(salt.hosts[1], ssh.hosts[0])
        self.system.start()

    def _add(self, rig: Rig) -> int:
        names = {setting.name for setting in settings_of(rig.kind) if setting.secret}
        plain = {name: value for name, value in rig.settings.items() if name not in names}
        way = self.system.add_connection(f"over-{rig.kind}", rig.kind, plain)
        with begin(self.system.engine) as conn:
            secret = {name: value for name, value in rig.settings.items() if name in names}
            connections.set_secrets(conn, self.system.site_key, way, secret)
        for host in rig.hosts[:2]:
            self._add_host(alias(rig.kind, host), way, host)
        return way

    def _add_host(self, name: str, way: int, host: Target) -> int:
        with begin(self.system.engine) as conn:
            host_id = hosts.add_host(conn, name, lip=host.address, os="Debian")
            hosts.set_facts(conn, host_id, {"os_family": "debian"}, "Debian 12")
            connections.link_host(conn, host_id, way, host.remote_id)
        self.names.append(name)
        return host_id

    def _add_with_two_ways(self, first: Target, second: Target) -> None:
        with begin(self.system.engine) as conn:
            host_id = hosts.add_host(conn, "two-ways", lip=second.address, os="Debian")
            salt = connections.add_connection(conn, "salt-first", "salt", self._settings(conn, "over-salt"))
            connections.link_host(conn, host_id, salt, first.remote_id)
            ssh = connections.add_connection(conn, "ssh-then", "ssh", self._settings(conn, "over-ssh"))
            connections.link_host(conn, host_id, ssh, second.remote_id, position=1)

    def _settings(self, conn: Any, name: str) -> dict[str, Any]:
        row = connections.connection_by_name(conn, name)
        assert row is not None
        return dict(row["settings"])


@pytest.fixture(scope="module")
def everywhere(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Everywhere]:
    with ExitStack() as stack:
        rigs = [load_rig(kind)(request.getfixturevalue) for kind in REAL]
        for rig in rigs:
            stack.callback(rig.stop)
            rig.start()
        place = Everywhere(tmp_path_factory.mktemp("everywhere"), rigs)
        stack.callback(place.system.close)
        yield place


@pytest.fixture
def client(everywhere: Everywhere) -> Iterator[Client]:
    with everywhere.system.client() as client:
        yield client


def output(client: Client, job: int, row: dict[str, Any]) -> str:
    return base64.b64decode(client.output(job, row["host_id"])["text"]).decode()


@pytest.mark.parametrize("module", ["1003", "1001"])
def test_one_job_runs_on_hosts_of_every_engine(everywhere: Everywhere, client: Client, module: str) -> None:
    job = client.submit(module, {}, everywhere.names)["job"]["id"]
    end = wait_for_end(client, job, 90)
    rows = {row["host"]: row for row in client.results(job)["results"]}
    told = {name: (row["state"], row["reason"]) for name, row in rows.items() if row["state"] != "ok"}
    if module == "1003":
        assert told == {}
        assert end["state"] == "succeeded"
        assert all("Debian" in output(client, job, row) for row in rows.values())
    assert {row["connection"] for row in rows.values()} == {f"over-{kind}" for kind in REAL}
    assert all(row["state"] in ("ok", "failed") for row in rows.values())
    assert all(row["handle"] for row in rows.values())


def test_a_salt_master_that_is_down_is_passed_over_for_ssh(client: Client, fleet: SaltFleet) -> None:
    first = client.submit("1003", {}, ["two-ways"])["job"]["id"]
    wait_for_end(client, first)
    (row,) = client.results(first)["results"]
    assert (row["state"], row["connection"], row["passed_over"]) == ("ok", "salt-first", "")
    fleet.stop_master()
    try:
        time.sleep(2.2)  # a look at a way stays good for two seconds
        second = client.submit("1003", {}, ["two-ways"])["job"]["id"]
        wait_for_end(client, second)
    finally:
        fleet.start_master()
    (row,) = client.results(second)["results"]
    assert (row["state"], row["connection"]) == ("ok", "ssh-then")
    assert row["passed_over"].startswith("salt-first: The Salt master does not")
