"""A master that speaks TLS: who may connect, and whom the client believes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from omserver_client import connect
from omserver_client.errors import NotReached
from omserver_client.tls import client_context
from omserver_master.commands import main
from omserver_master.errors import SettingsError
from omserver_master.settings import load_settings
from omserver_master.wire.certificates import issue, make_authority
from tests.integration.conftest import MODULES
from tests.system import System


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    make_authority(folder)
    issue(folder, "master", ["127.0.0.1"], server=True)
    issue(folder, "robot", [], server=False)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[System]:
    """A master that asks for a client certificate."""
    system = System(
        tmp_path_factory.mktemp("home"),
        modules_dir=MODULES,
        workers=1,
        tls_cert=folder / "master.pem",
        tls_key=folder / "master.key",
        tls_client_ca=folder / "ca.pem",
    )
    system.tls = client_context(folder / "ca.pem", folder / "robot.pem", folder / "robot.key")
    system.start()
    yield system
    system.close()


def test_both_sides_prove_themselves_and_then_it_works(site: System) -> None:
    with site.client() as client:
        assert client.whoami()["user"] == "admin"


def test_a_client_without_a_certificate_is_turned_away(site: System, folder: Path) -> None:
    key = site.home / "keys" / "omctl.key"
    with pytest.raises(NotReached):
        connect("127.0.0.1", site.port, key, tls=client_context(folder / "ca.pem"))


def test_a_client_does_not_believe_another_authority_or_another_name(site: System, folder: Path) -> None:
    key = site.home / "keys" / "omctl.key"
    another = make_authority(folder / "another")
    with pytest.raises(NotReached, match=r"OMSERVER_CA_FILE .* must be the ca\.pem of its own authority"):
        connect("127.0.0.1", site.port, key, tls=client_context(another))
    with pytest.raises(NotReached, match=r"OMSERVER_RPYC_HOST, --host\), or make one .* omserver tls make"):
        connect(
            "localhost",
            site.port,
            key,
            tls=client_context(folder / "ca.pem", folder / "robot.pem", folder / "robot.key"),
        )


def test_who_calls_the_address_that_it_listens_on_proves_it_by_a_loopback_name(
    site: System, folder: Path
) -> None:
    tls = client_context(folder / "ca.pem", folder / "robot.pem", folder / "robot.key")
    with connect("0.0.0.0", site.port, site.home / "keys" / "omctl.key", tls=tls) as client:
        client.ping()


def test_the_doctor_knows_a_master_that_listens_on_all_addresses_by_its_certificate(
    site: System, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[str]:
        lines = CliRunner().invoke(main, ["doctor"]).output.splitlines()
        at = next(number for number, line in enumerate(lines) if "master port" in line)
        return lines[at : at + 2]

    for name, value in (site.environment | {"OMSERVER_RPYC_HOST": "0.0.0.0"}).items():
        monkeypatch.setenv(name, value)
    line, remedy = said()
    assert line.startswith(f"FAIL  master port 0.0.0.0:{site.port} answers, but not to the keys of this copy")
    assert "set OMSERVER_CA_FILE" in line
    assert "omserver tls make" in remedy
    for name, file in (("CA_FILE", "ca.pem"), ("CLIENT_CERT", "robot.pem"), ("CLIENT_KEY", "robot.key")):
        monkeypatch.setenv(f"OMSERVER_{name}", str(folder / file))
    assert said()[0] == f"ok    master port 0.0.0.0:{site.port} answers"


def test_a_client_without_tls_gets_no_word_out_of_it_and_is_told_what_to_set(site: System) -> None:
    with pytest.raises(NotReached, match="If it speaks TLS, set OMSERVER_CA_FILE"):
        connect("127.0.0.1", site.port, site.home / "keys" / "omctl.key", timeout=5)


def test_listening_wider_than_loopback_needs_tls(tmp_path: Path) -> None:
    environment = {"OMSERVER_HOME": str(tmp_path), "OMSERVER_RPYC_HOST": "0.0.0.0"}
    with pytest.raises(SettingsError, match="TLS_CERT"):
        load_settings(environment)
