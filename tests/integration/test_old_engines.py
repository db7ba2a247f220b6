"""The seven stock modules of 2014 in their own style, on real hosts of Salt, Ansible and Func in one job."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_client import Client
from omserver_master.backends import Target
from omserver_master.store import connections, hosts
from omserver_master.store.engine import begin
from tests.contract.rig import Rig, load_rig
from tests.system import System, wait_for_end

STOCK = Path(__file__).parent / "modules2014"
KINDS = ("salt", "ansible", "func")
#: Some hosts share more than these folders with the machine of the tests.
ELSEWHERE = {
    "/var/log/messages": "/tmp/om2014-messages",
    "/var/log/secure": "/tmp/om2014-secure",
    "/etc/sysctl.conf": "/tmp/om2014-sysctl.conf",
}


class Engines:
    """A master with two hosts of each engine, and the modules of 2014 in their three folders."""

    def __init__(self, system: System, rigs: dict[str, Rig]) -> None:
        self.system = system
        self.rigs = rigs
        self.hosts: dict[str, Target] = {}
        for kind, rig in rigs.items():
            way = system.add_connection(f"by-{kind}", kind, rig.settings)
            for number, host in enumerate(rig.hosts[:2], start=1):
                self._add(host, way, host.address or f"192.0.2.{number}")

    def _add(self, host: Target, way: int, address: str) -> None:
        self.hosts[host.name] = host
        with begin(self.system.engine) as conn:
            row = hosts.add_host(conn, host.name, lip=address, os="Debian")
            connections.link_host(conn, row, way, host.remote_id)

    def read(self, name: str, path: str) -> bytes | None:
        rig = next(rig for rig in self.rigs.values() if self.hosts[name] in rig.hosts)
        return rig.read(self.hosts[name], path)


@pytest.fixture(scope="module")
def engines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("modules") / "modules"
    shutil.copytree(STOCK, folder)
    for module in folder.glob("*/Mid_*.py"):
        text = module.read_text()
        for here, there in ELSEWHERE.items():
            text = text.replace(here, there)
        module.write_text(text)
    system = System(tmp_path_factory.mktemp("engines"), modules_dir=folder)
    rigs = {kind: load_rig(kind)(request.getfixturevalue) for kind in KINDS}
    try:
        for rig in rigs.values():
            rig.start()
        made = Engines(system, rigs)
        system.start()
        yield made
    finally:
        system.close()
        for rig in rigs.values():
            rig.stop()


@pytest.fixture
def client(engines: Engines) -> Iterator[Client]:
    with engines.system.client() as client:
        yield client


class Done:
    """A job that is over: its rows by host, and what each host printed."""

    def __init__(self, client: Client, engines: Engines, module: str, *params: str) -> None:
        self._client = client
        self.id = client.submit(module, list(params), list(engines.hosts), confirm=None)["job"]["id"]
        self.job = wait_for_end(client, self.id, 90)
        self.rows: dict[str, Any] = {row["host"]: row for row in client.results(self.id)["results"]}
        self.states = {row["state"] for row in self.rows.values()}
        assert set(self.rows) == set(engines.hosts)

    def printed(self, host: str) -> str:
        answer = self._client.output(self.id, self.rows[host]["host_id"])
        return base64.b64decode(answer["text"]).decode()


def test_one_module_answers_from_hosts_of_three_engines_each_by_its_own_file(
    client: Client, engines: Engines
) -> None:
    done = Done(client, engines, "1003")
    assert done.states == {"ok"}, done.rows
    assert {row["connection"] for row in done.rows.values()} == {"by-salt", "by-ansible", "by-func"}
    assert {row["rc"] for row in done.rows.values()} == {0}
    assert all(done.printed(name).strip() for name in engines.hosts)


@pytest.mark.parametrize(("module", "log"), [("1001", "messages"), ("1002", "secure")])
def test_the_last_lines_of_a_log(client: Client, engines: Engines, module: str, log: str) -> None:
    missing = Done(client, engines, module, "3")
    assert missing.states == {"failed"}, missing.rows
    assert all("No such file" in row["reason"] for row in missing.rows.values())
    name = f"om2014-{log}"
    write = f"        return fc.Overlord(self.hosts).command.run('seq 1 100 > /tmp/{name}')\n"
    folder = engines.system.settings.modules_dir
    head = (STOCK / "func" / "Mid_1004.py").read_text().split("    def run")[0] + "    def run(self):\n"
    for engine in ("saltstack", "ansible", "func"):
        (folder / engine / "Mid_4100.py").write_text(head + write)
    assert Done(client, engines, "4100").states == {"ok"}
    done = Done(client, engines, module, "3")
    assert done.states == {"ok"}, done.rows
    assert {done.printed(host).split()[-1] for host in engines.hosts} == {"100"}
    assert {len(done.printed(host).split()) for host in engines.hosts} == {3}


def test_kernel_modules_are_shown_or_their_lack_is_said(client: Client, engines: Engines) -> None:
    done = Done(client, engines, "1004")
    for name, row in done.rows.items():
        assert (row["state"], bool(row["rc"])) in (("ok", False), ("failed", True)), (name, row)


def test_a_file_is_put_and_its_command_is_run(client: Client, engines: Engines) -> None:
    done = Done(client, engines, "1005", "sysctl")
    assert done.states == {"ok"}, done.rows
    wanted = (STOCK / "files" / "sysctl" / "sysctl.conf").read_bytes()
    assert {engines.read(name, "/tmp/om2014-sysctl.conf") for name in engines.hosts} == {wanted}
    assert {done.printed(name).strip() for name in engines.hosts} == {wanted.decode().strip()}


def test_a_configuration_is_shown(client: Client, engines: Engines) -> None:
    done = Done(client, engines, "1006", "limits")
    assert done.states == {"ok"}, done.rows
    assert all(done.printed(name).strip().isdigit() for name in engines.hosts)


def test_a_service_that_is_not_there_is_not_restarted(client: Client, engines: Engines) -> None:
    done = Done(client, engines, "1007", "lighttpd")
    assert done.states == {"failed"}, done.rows
    assert None not in {row["rc"] for row in done.rows.values()}
