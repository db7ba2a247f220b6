"""What a worker knows of the site's connections while the database cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from omserver_client.errors import Unavailable
from omserver_master.jobs import roads
from omserver_master.jobs.board import JobHost, Route
from omserver_master.jobs.ports import Way
from omserver_master.jobs.roads import SiteRoads
from omserver_master.store import connections
from omserver_master.store.engine import make_engine
from omserver_master.store.sitekey import SiteKey

SIM = {
    "id": 1,
    "name": "invented",
    "kind": "sim",
    "settings": {"socket": "/none"},
    "secrets": None,
    "enabled": 1,
    "state": "unknown",
    "since": None,
    "machines": None,
}


class Table:
    """The table of connections."""

    down = False
    row = SIM

    def list_connections(self, conn: Any) -> list[dict[str, Any]]:
        if self.down:
            raise Unavailable("The database cannot be reached.")
        return [self.row]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(connections, "list_connections", made.list_connections)
    monkeypatch.setattr(connections, "full_settings", lambda _, row: row["settings"])
    monkeypatch.setattr(connections, "note_state", lambda *_: None)
    monkeypatch.setattr(roads, "FRESH", 0.0)
    return made


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = make_engine("sqlite://")
    yield made
    made.dispose()


def test_who_knows_no_connection_yet_does_not_take_them_for_gone(table: Table, engine: Engine) -> None:
    found = SiteRoads(engine, SiteKey.of(bytes(32)))
    table.down = True
    with pytest.raises(Unavailable):
        found.ids()
    with pytest.raises(Unavailable):
        found.backend(1)
    table.down = False
    assert found.ids() == {"invented": 1}
    found.close()


def test_what_was_known_of_a_connection_stays_good_while_the_database_is_away(
    table: Table, engine: Engine
) -> None:
    found = SiteRoads(engine, SiteKey.of(bytes(32)))
    assert found.ids() == {"invented": 1}
    table.down = True
    assert found.ids() == {"invented": 1}
    assert found.backend(1) is not None
    found.close()


def test_a_way_that_is_down_says_since_when_as_the_table_knows_it(table: Table, engine: Engine) -> None:
    table.row = {**SIM, "state": "down", "since": 1_764_000_000.0}
    found = SiteRoads(engine, SiteKey.of(bytes(32)))
    said = found.choose(JobHost(1, "web-01", "", "", "", (Route(1, "web-01"),)))
    assert isinstance(said, str)
    assert said.startswith("invented: The process of the invented hosts does not answer")
    assert said.endswith(" (since 2025-11-24 16:00 UTC).")
    found.close()


def test_nothing_is_ever_sent_over_a_connection_that_another_machine_serves(
    table: Table, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def make(kind: str, name: str, settings: Any) -> Any:
        opened.append(name)
        return SimpleNamespace(just_answered=lambda: True, close=lambda: None)

    monkeypatch.setattr(roads, "make_backend", make)
    host = JobHost(1, "web-01", "", "", "", (Route(1, "web-01"),))
    table.row = {**SIM, "machines": ["sz-1", "sz-2"]}
    found = SiteRoads(engine, SiteKey.of(bytes(32)), "gd-1")
    why = "invented: it is served by sz-1, sz-2, not by gd-1"
    assert (found.choose(host), found.why_down(1), found.backend(1)) == (why, why, None)
    assert (found.ids(), opened) == ({}, []), "it is not even opened"
    table.row = {**SIM, "machines": ["gd-1", "sz-1"]}
    assert isinstance(found.choose(host), Way)
    assert opened == ["invented"]
    table.row = {**SIM, "machines": ["sz-1"]}
    assert (found.choose(host), found.backend(1)) == ("invented: it is served by sz-1, not by gd-1", None)
    found.close()
