"""`omserver host`: which connection a new host gets, said or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, update

from omserver_master.commands import main
from omserver_master.settings import PREFIX
from omserver_master.store import audit, connections, hosts, schema
from omserver_master.store.engine import begin, make_engine, read

Omserver = Callable[..., Result]


@pytest.fixture
def omserver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Omserver:
    (tmp_path / "config.py").touch()
    monkeypatch.setenv(PREFIX + "HOME", str(tmp_path / "home"))
    monkeypatch.setenv(PREFIX + "CONFIG", str(tmp_path / "config.py"))

    def run(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def site(omserver: Omserver, tmp_path: Path) -> Iterator[Engine]:
    """A site with a connection of the kind salt, and two of the kind sim, of which one is turned off."""
    omserver("db", "upgrade")
    engine = make_engine(f"sqlite:///{tmp_path}/home/omserver.db")
    with begin(engine) as conn:
        for name, kind in (("dc1", "salt"), ("sim1", "sim"), ("sim2", "sim")):
            connections.add_connection(conn, name, kind, {})
        off = update(schema.connections).where(schema.connections.c.name == "sim2").values(enabled=False)
        conn.execute(off)
    yield engine
    engine.dispose()


def _way(site: Engine, host: str) -> str:
    with read(site) as conn:
        return str(hosts.hosts_by_name(conn, [host])[host]["connection"])


def test_a_host_gets_the_sites_only_connection_of_its_platform(
    omserver: Omserver, site: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    omserver("host", "add", "web-01")
    assert _way(site, "web-01") == "dc1"
    monkeypatch.setenv(PREFIX + "AUTO_PLATFORM", "sim")
    omserver("host", "add", "web-02")
    assert _way(site, "web-02") == "sim1"
    with read(site) as conn:
        assert audit.list_audit(conn, limit=1)[0]["detail"] == "connection sim1, id there web-02"


def test_the_connection_that_is_said_goes_before_the_platform(omserver: Omserver, site: Engine) -> None:
    omserver("host", "add", "web-01", "--connection", "sim1")
    assert _way(site, "web-01") == "sim1"


def test_without_a_connection_of_the_platform_or_with_several_no_host_is_added(
    omserver: Omserver, site: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begin(site) as conn:
        connections.add_connection(conn, "dc2", "salt", {})
    said = omserver("host", "add", "web-01", code=2).output
    assert "the site has 2 connections of the kind salt (dc1, dc2): say which with --connection." in said
    monkeypatch.setenv(PREFIX + "AUTO_PLATFORM", "local")
    assert "the site has no connection of the kind local" in omserver("host", "add", "web-01", code=2).output
    with read(site) as conn:
        assert hosts.list_hosts(conn)[1] == 0
