"""Databases with all tables and no rows, on each kind of database that we support."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from omserver_master.store.engine import begin, make_engine
from omserver_master.store.schema import metadata
from omserver_master.store.schema_version import upgrade
from omserver_master.store.sitekey import SiteKey
from tests import databases


@pytest.fixture(scope="session", params=["sqlite", "mariadb", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database; tests that use it run on each kind."""
    if request.param == "sqlite":
        yield databases.sqlite_url(tmp_path_factory.mktemp("sqlite"))
        return
    server = databases.mariadb_url if request.param == "mariadb" else databases.postgresql_url
    with server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated(database_url: str) -> Iterator[Engine]:
    """An engine on a database that has been brought to our version."""
    engine = make_engine(database_url, pool_size=10)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(migrated: Engine) -> Engine:
    """An engine on a database with all tables and no rows."""
    with begin(migrated) as conn:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())
    return migrated


@pytest.fixture(scope="session")
def site_key() -> SiteKey:
    """A site key."""
    return SiteKey.of(bytes(range(32)))
