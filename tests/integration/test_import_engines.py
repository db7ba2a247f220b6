"""Connections to real engines: tried, their hosts imported, put in order, and run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_client import Client
from tests.contract.rigs.func import FuncRig
from tests.fleet.fleet import SaltFleet
from tests.fleet.sshhosts import SshHosts
from tests.system import System, wait_for_end


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "home")
    system.start()
    yield system
    system.close()


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with system.client() as client:
        yield client


def brought_in(client: Client, source: str, **options: Any) -> dict[str, int]:
    """The counts of an import that was applied."""
    preview = client.preview_import(source, **options)
    return client.apply_import(preview["token"], preview["digest"])["counts"]


def ran(client: Client, names: list[str]) -> dict[str, tuple[str, str]]:
    """How module 1003 ended on each host, and over which connection."""
    job = client.submit("1003", None, names)["job"]["id"]
    wait_for_end(client, job, 100)
    return {row["host"]: (row["state"], row["connection"]) for row in client.results(job)["results"]}


def test_a_salt_site_is_connected_from_nothing_and_gets_a_second_way(
    client: Client, system: System, fleet: SaltFleet
) -> None:
    client.add_connection("dc1", "salt", fleet.connection_settings)
    assert client.try_connection("dc1")["up"]
    number = brought_in(client, "dc1", categ="Linux.Web", app="shop")["new"]
    assert number >= 3  # other tests of this run may have made the master know more minions
    hosts = [host for host in client.hosts()["hosts"] if host["name"] in fleet.minions]
    assert [host["name"] for host in hosts] == sorted(fleet.minions)
    assert all("Debian" in host["os"] and host["app"] == "shop" for host in hosts)
    assert client.host("web-01")["facts"]["os_family"] == "debian"
    trial = client.try_connection("dc1", "web-01")
    assert (trial["state"], trial["host_reason"]) == ("ok", "")
    assert ran(client, ["web-01"]) == {"web-01": ("ok", "dc1")}
    assert brought_in(client, "dc1", categ="Linux.Web", app="shop") == {
        "new": 0, "changed": 0, "same": number, "conflict": 0, "refused": 0, "missing": 0,
    }  # fmt: skip

    password = fleet.api_settings["password"]
    added = client.add_connection("dc1-api", "salt-api", fleet.api_settings)
    assert added["secrets"] == ["password"]
    assert password not in str([client.connections(), client.audit(limit=1000)])
    assert client.try_connection("dc1-api")["up"]
    client.set_connection("dc1-api", {"password": "", "timeout": 20})
    assert client.try_connection("dc1-api")["up"], "the secret was kept"
    assert password.encode() not in b"".join(path.read_bytes() for path in system.home.glob("omserver.db*"))
    assert password not in system.log.read_text()
    assert brought_in(client, "dc1-api")["changed"] == number
    ways = [way["connection"] for way in client.host("web-01")["ways"]]
    assert ways == ["dc1", "dc1-api"]
    client.enable_connection("dc1", False)
    assert ran(client, ["web-02"]) == {"web-02": ("ok", "dc1-api")}
    client.set_connection("dc1-api", {"password": "wrong"})
    trial = client.try_connection("dc1-api")
    assert not trial["up"]
    assert "wrong" not in trial["reason"].split()
    client.enable_connection("dc1")
    client.set_ways(["web-01"], move="dc1-api")
    assert [way["connection"] for way in client.host("web-01")["ways"]] == ["dc1-api", "dc1"]


def test_an_ansible_inventory_comes_in_with_its_groups(
    client: Client, sshhosts: SshHosts, tmp_path: Path
) -> None:
    addresses = {host.remote_id: host.address for host in sshhosts.targets("py-01", "py-02")}
    lines = ["[shop]", *(f"{name} ansible_host={address}" for name, address in addresses.items())]
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("\n".join([*lines, "[shop:vars]", f"ansible_user={sshhosts.user}"]) + "\n")
    settings = {
        "inventory": str(inventory),
        "private_key_file": str(sshhosts.key),
        "known_hosts": str(sshhosts.known_hosts),
    }
    client.add_connection("site", "ansible", settings)
    assert brought_in(client, "site", categ="Linux.Web", groups="app", app="none")["new"] == 2
    host = client.host("py-01")
    assert (host["lip"], host["app"]) == (addresses["py-01"], "shop")
    assert brought_in(client, "site", categ="Linux.Web", groups="app", app="none")["same"] == 2
    assert client.try_connection("site", "py-01")["state"] == "ok"
    assert client.try_connection("site")["up"]


def test_the_hosts_that_an_ssh_config_names_come_in(
    client: Client, sshhosts: SshHosts, tmp_path: Path
) -> None:
    config = tmp_path / "ssh_config"
    hosts = sshhosts.targets("py-01", "py-02")
    config.write_text("".join(f"Host {host.remote_id}\n  HostName {host.address}\n" for host in hosts))
    client.add_connection("plain", "ssh", {**sshhosts.connection_settings, "config": str(config)})
    assert brought_in(client, "plain")["new"] == 2
    assert brought_in(client, "plain")["same"] == 2
    assert client.try_connection("plain", "py-01")["state"] == "ok"


def test_the_hosts_whose_func_certificates_are_signed_come_in(
    client: Client, request: pytest.FixtureRequest
) -> None:
    rig = FuncRig(request.getfixturevalue)
    try:
        rig.start()
        client.add_connection("func", "func", rig.settings)
        names = {host.name for host in rig.hosts}
        assert brought_in(client, "func")["new"] >= len(names)
        assert {host["name"] for host in client.hosts()["hosts"]} >= names
        assert brought_in(client, "func")["new"] == 0
    finally:
        rig.stop()
