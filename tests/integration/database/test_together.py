"""Transactions that are committed together: all of them, each for itself, and none lost on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.exc import IntegrityError

from omserver_client.errors import BadRequest, Unavailable
from omserver_master.store import audit, schema, sqlite
from omserver_master.store.engine import begin, make_engine, read
from omserver_master.store.schema_version import upgrade
from omserver_master.store.together import transact_together
from tests.databases import sqlite_url


def add(name: str) -> Callable[[Connection], int]:
    """Work that writes a row of the audit."""
    return lambda conn: audit.append(conn, action="test", user=name)


class Crowd:
    """Works that are asked for while a writer has the lock, so that they come to wait together."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.answers: dict[str, Any] = {}

    def run(self, works: dict[str, Callable[[Connection], Any]]) -> None:
        with begin(self.engine) as conn:
            audit.append(conn, action="test")  # who comes first finds nothing to lock
        threads = [threading.Thread(target=self._one, args=named) for named in works.items()]
        with begin(self.engine):
            for thread in threads:
                thread.start()
            threads[0].join(0.2)  # the first is at the front and has begun to wait for the lock
        for thread in threads:
            thread.join(20)

    def _one(self, name: str, work: Callable[[Connection], Any]) -> None:
        try:
            self.answers[name] = transact_together(self.engine, work)
        except Exception as error:
            self.answers[name] = error


@pytest.fixture
def file_engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a SQLite file of its own."""
    engine = make_engine(sqlite_url(tmp_path))
    upgrade(engine)
    yield engine
    engine.dispose()


def users(engine: Engine) -> set[str]:
    with read(engine) as conn:
        audit.verify(conn)
        return set(conn.execute(select(schema.audit_events.c.user)).scalars()) - {""}


def test_those_who_wait_at_the_same_time_are_committed_together(file_engine: Engine) -> None:
    commits: list[Connection] = []
    names = [f"user {number}" for number in range(12)]
    crowd = Crowd(file_engine)
    file_engine.dispose()  # what is open already would not tell
    event.listen(sqlite.bare(file_engine), "commit", commits.append)
    crowd.run({name: add(name) for name in names})
    assert users(file_engine) == set(names)
    assert sorted(crowd.answers.values()) == list(range(2, 14))
    assert 1 < len(commits) <= 1 + 1 + 2, "of the writer, of the first, and of all others"


def test_what_one_of_them_raises_is_its_own(engine: Engine) -> None:
    def refuse(conn: Connection) -> None:
        add("refused")(conn)
        raise BadRequest("No.")

    def repeat(conn: Connection) -> None:
        add("twice")(conn)
        conn.execute(text("INSERT INTO workers (name, started, last_seen) VALUES ('w', :now, :now)"), NOW)
        conn.execute(text("INSERT INTO workers (name, started, last_seen) VALUES ('w', :now, :now)"), NOW)

    crowd = Crowd(engine)
    crowd.run({"first": add("first"), "refused": refuse, "last": add("last"), "twice": repeat})
    assert users(engine) == {"first", "last"}
    assert isinstance(crowd.answers["refused"], BadRequest)
    assert isinstance(crowd.answers["twice"], IntegrityError)


def test_who_spoils_the_transaction_spoils_it_for_nobody_else(engine: Engine) -> None:
    def roll_all_back(conn: Connection) -> None:
        add("spoiler")(conn)
        conn.exec_driver_sql("ROLLBACK")
        raise Unavailable("The disk is full.")

    crowd = Crowd(engine)
    crowd.run({"first": add("first"), "spoiler": roll_all_back, "last": add("last")})
    assert users(engine) == {"first", "last"}
    assert isinstance(crowd.answers["spoiler"], Unavailable)


def test_a_commit_that_fails_is_told_to_all_of_them(file_engine: Engine) -> None:
    tries = []

    def refuse(conn: Connection) -> None:
        tries.append(conn)
        if len(tries) == 3:  # after the writer and the first, the one of all others
            raise Unavailable("The disk does not accept writes.")

    file_engine.dispose()
    event.listen(sqlite.bare(file_engine), "commit", refuse)
    crowd = Crowd(file_engine)
    names = [f"user {number}" for number in range(4)]
    crowd.run({name: add(name) for name in names})
    told = {name for name, answer in crowd.answers.items() if isinstance(answer, Unavailable)}
    assert told
    assert users(file_engine) == set(names) - told


NOW = {"now": "2026-11-21 12:00:00.000000"}
