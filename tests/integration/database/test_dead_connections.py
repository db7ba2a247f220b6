"""Connections that died while nobody used them: they are replaced, without asking each one each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from omserver_master.store import clock, engine
from omserver_master.store.engine import begin, make_engine, read

#: A file's connections do not die.
pytestmark = pytest.mark.parametrize("database_url", ["mariadb", "postgresql"], indirect=True)

OWN_ID = {"mysql": "SELECT connection_id()", "postgresql": "SELECT pg_backend_pid()"}
END = {"mysql": "KILL {}", "postgresql": "SELECT pg_terminate_backend({})"}


@pytest.fixture
def server(database_url: str) -> Iterator[Engine]:
    """An engine of our own."""
    found = make_engine(database_url)
    yield found
    found.dispose()


def own_id(conn: Connection) -> int:
    return int(conn.execute(text(OWN_ID[conn.dialect.name])).scalar_one())


def test_a_connection_that_died_while_nobody_used_it_is_replaced(
    server: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begin(server) as one, read(server) as other:
        ids = own_id(one), own_id(other)
    killer = make_engine(database_url)
    with begin(killer) as conn:
        for id_ in ids:
            conn.execute(text(END[conn.dialect.name].format(id_)))
    killer.dispose()
    monkeypatch.setattr(engine, "_USED_LATELY", 0.0)  # as if that had been long ago
    with begin(server) as one, read(server) as other:
        assert clock.now(one) <= clock.now(other)
        assert not {own_id(one), own_id(other)} & set(ids)


def test_a_connection_is_asked_whether_it_lives_only_when_it_was_not_used_lately(
    server: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(engine._reading(server).dialect, "do_ping", asked.append)
    for _ in range(3):
        with read(server) as conn:
            clock.now(conn)
    assert not asked
    monkeypatch.setattr(engine, "_USED_LATELY", 0.0)
    with read(server) as conn:
        clock.now(conn)
    assert len(asked) == 1


def test_what_is_disposed_of_keeps_no_connection(server: Engine) -> None:
    with begin(server) as conn, read(server) as other:
        assert clock.now(conn) <= clock.now(other)
    reading = engine._reading(server)
    server.dispose()
    assert (server.pool.checkedin(), reading.pool.checkedin()) == (0, 0)  # type: ignore[attr-defined]
