"""Systems that the integration tests share. Each is real: a master, workers, a database, and an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_client import Client
from tests.system import System

MODULES = Path(__file__).parent / "modules"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A master with the modules of ``tests/integration/modules`` and hosts of the kind ``local``."""
    system = System(tmp_path_factory.mktemp("site"), modules_dir=MODULES)
    system.add_user("olga", "operator", categ_id=1)  # the category of the hosts below
    system.add_user("victor", "viewer")
    system.add_user("nobody")
    for name in ("alpha", "beta", "gamma-skip", "delta-bad"):
        # One machine under several names: a connection each, since an engine knows a host by one name.
        way = system.add_connection(f"here-{name}", "local")
        system.add_hosts([name], way)
    way = system.add_connection("here-other", "local")
    system.add_hosts(["other"], way, app="db.domain.com", category="Linux.Db")
    system.add_key("robot", "operator", service="olga")
    system.add_key("viewing", "viewer")
    system.start()
    with system.client():  # its login is not the newest row of the audit for any test
        pass
    yield system
    system.close()


@pytest.fixture
def admin(site: System) -> Iterator[Client]:
    with site.client() as client:
        yield client
