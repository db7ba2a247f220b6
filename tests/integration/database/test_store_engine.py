"""Transactions: durable, bounded in time, retried where that is safe, and clear about what went wrong."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, ResourceClosedError

from omserver_client.errors import Unavailable
from omserver_master.store import clock, engine, mariadb
from omserver_master.store.engine import LOCK_TIMEOUT, begin, look, make_engine, read, transact
from omserver_master.store.schema import module_list, workers


def _names(store: Engine) -> list[str]:
    with read(store) as conn:
        return list(conn.execute(select(workers.c.name).order_by(workers.c.name)).scalars())


def _add(conn: Connection, name: str) -> None:
    conn.execute(insert(workers).values(name=name, started=1.5, last_seen=clock.now(conn)))


def test_a_block_that_raises_leaves_nothing_behind(engine: Engine) -> None:
    def work(conn: Connection) -> None:
        _add(conn, "a")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transact(engine, work)
    assert _names(engine) == []


def test_times_come_back_to_the_microsecond(engine: Engine) -> None:
    with begin(engine) as conn:
        conn.execute(insert(workers).values(name="a", started=1700000000.123456, last_seen=0.0))
        assert conn.execute(select(workers.c.started, workers.c.last_seen)).one() == (1700000000.123456, 0.0)


def test_the_databases_clock_is_the_true_time_in_utc(engine: Engine) -> None:
    with read(engine) as conn:
        assert clock.now(conn) == pytest.approx(time.time(), abs=2)


def test_text_of_any_kind_is_stored(engine: Engine) -> None:
    hostile = "查看 \U0001f600 'quoted\" \\ ; -- \x1b[31m"
    with begin(engine) as conn:
        conn.execute(insert(module_list).values(module_name=hostile, module_caption="nul \0 half \ud800"))
        row = conn.execute(select(module_list)).one()
    assert row.module_name == hostile
    assert row.module_caption == "nul � half ?"


def test_our_own_mistakes_are_not_called_an_outage(engine: Engine) -> None:
    with begin(engine) as conn:
        _add(conn, "a")
    with pytest.raises(IntegrityError):
        transact(engine, lambda conn: _add(conn, "a"))


def test_many_writers_at_once_all_get_their_turn(engine: Engine) -> None:
    with begin(engine) as conn:
        _add(conn, "counter")

    def count(conn: Connection) -> None:
        before = conn.execute(select(workers.c.started).with_for_update()).scalar_one()
        conn.execute(update(workers).values(started=before + 1))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(transact, engine, count) for _ in range(80)]:
            done.result()
    with read(engine) as conn:
        assert conn.execute(select(workers.c.started)).scalar_one() == 81.5


def test_a_transaction_that_lost_in_a_deadlock_is_run_again(engine: Engine) -> None:
    with begin(engine) as conn:
        _add(conn, "a")
        _add(conn, "b")
    meet = threading.Barrier(2)
    runs = []

    def cross(first: str, second: str) -> None:
        def work(conn: Connection) -> None:
            runs.append(first)
            conn.execute(update(workers).where(workers.c.name == first).values(started=2.0))
            if len(runs) <= 2 and conn.dialect.name != "sqlite":
                meet.wait(5)
            conn.execute(update(workers).where(workers.c.name == second).values(started=2.0))

        transact(engine, work)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(cross, "a", "b"), pool.submit(cross, "b", "a")]:
            done.result(30)
    assert len(runs) == (2 if engine.dialect.name == "sqlite" else 3)


def test_a_statement_that_takes_too_long_is_stopped(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STATEMENT_TIMEOUT", 1)
    for options, name in ((engine._MARIADB, "init_command"), (engine._POSTGRESQL, "options")):
        shorter = re.sub("30000", "1000", options[name]).replace("time = 30,", "time = 1,")
        assert shorter != options[name]
        monkeypatch.setitem(options, name, shorter)
    slow = make_engine(database_url)
    endless = {
        "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c",
        "mysql": "SELECT COUNT(*) FROM {0} a, {0} b, {0} c, {0} d".format("information_schema.columns"),
        "postgresql": "SELECT pg_sleep(60)",
    }
    start = time.monotonic()
    with pytest.raises(Unavailable, match="too long"), read(slow) as conn:
        conn.execute(text(endless[slow.dialect.name]))
    assert time.monotonic() - start < 10
    slow.dispose()


def test_a_statement_may_take_longer_than_the_handshake(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine._MARIADB, "read_timeout", 1)
    slow = make_engine(database_url)
    waits = {"mysql": "SELECT SLEEP(1.5)", "postgresql": "SELECT pg_sleep(1.5)", "sqlite": "SELECT 1"}
    with read(slow) as conn:
        conn.execute(text(waits[slow.dialect.name]))
    slow.dispose()


def test_what_is_said_of_a_column_is_read_once_for_as_long_as_it_stays_the_same(database_url: str) -> None:
    store = make_engine(database_url)
    for kind, value in ((Integer(), 7), (String(9), "seven")):
        table = Table("once", MetaData(), Column("word", kind))
        with begin(store) as conn:
            table.create(conn)
            conn.execute(table.insert().values(word=value))
        with read(store) as conn:
            found = [conn.execute(select(table)).scalar_one()]
            read_so_far = mariadb._column.cache_info().misses
            found.append(conn.execute(select(table)).scalar_one())
        assert found == [value, value]
        assert mariadb._column.cache_info().misses == read_so_far
        with begin(store) as conn:
            table.drop(conn)
    store.dispose()


@pytest.mark.parametrize("kind", ["mysql+pymysql", "postgresql+psycopg"])
def test_a_server_that_is_down_is_unavailable(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable), begin(make_engine(f"{kind}://u:p@127.0.0.1:{port}/d")):
        pass


@pytest.mark.parametrize("kind", ["mysql+pymysql", "postgresql+psycopg"])
def test_a_server_that_says_nothing_is_not_waited_for_for_ever(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, name in ((engine._MARIADB, "read_timeout"), (engine._POSTGRESQL, "connect_timeout")):
        assert options[name] == engine.CONNECT_TIMEOUT
        monkeypatch.setitem(options, name, 2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{kind}://u:p@127.0.0.1:{listener.getsockname()[1]}/d"
        start = time.monotonic()
        with pytest.raises(Unavailable), read(make_engine(url)):
            pass
        assert time.monotonic() - start < 5


@pytest.fixture
def file_engine(tmp_path: Path) -> Engine:
    store = make_engine(f"sqlite:///{tmp_path}/own.db")
    with begin(store) as conn:
        workers.create(conn)
    return store


def test_the_sqlite_file_is_private_and_durable(file_engine: Engine, tmp_path: Path) -> None:
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o600"}
    with read(file_engine) as conn:
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    file_engine.dispose()


def test_looks_use_one_connection_again_and_leave_nothing_open(file_engine: Engine, tmp_path: Path) -> None:
    used = []
    for opened in (look, read, look):
        with opened(file_engine) as conn:
            conn.execute(select(workers)).first()
            used.append(conn.connection.dbapi_connection)
    assert used[0] is used[1] is used[2]
    with begin(file_engine) as conn:
        _add(conn, "one")
    with contextlib.closing(sqlite3.connect(tmp_path / "own.db")) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert _names(file_engine) == ["one"]
    file_engine.dispose()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used[0].execute("SELECT 1")


def test_looks_at_the_same_time_have_connections_of_their_own(file_engine: Engine) -> None:
    with look(file_engine) as one, look(file_engine) as two:
        assert one.connection.dbapi_connection is not two.connection.dbapi_connection
    with pytest.raises(IntegrityError), begin(file_engine) as conn:
        _add(conn, "one"), _add(conn, "one")
    with pytest.raises(ResourceClosedError), read(file_engine) as conn:
        conn.exec_driver_sql("PRAGMA incremental_vacuum").one()
    assert _names(file_engine) == []
    file_engine.dispose()


def test_a_sqlite_writer_takes_its_lock_before_it_reads(
    file_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_TIMEOUT", 0.1)
    other = make_engine(str(file_engine.url))
    with begin(file_engine) as conn:
        conn.execute(select(workers))
        with pytest.raises(Unavailable, match="busy"), begin(other):
            pass
    with begin(other):
        pass
    other.dispose()
    file_engine.dispose()


def test_who_always_loses_is_told_while_he_still_waits(
    file_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_TIMEOUT", 1.0)
    monkeypatch.setattr(engine, "TRY_TIMEOUT", 2.5)
    other, tries = make_engine(str(file_engine.url)), []
    began = time.monotonic()
    with begin(file_engine), pytest.raises(Unavailable, match="other writers went first"):
        transact(other, tries.append)
    assert 2.0 <= time.monotonic() - began < 3.5
    assert tries == [], "the lock is taken before the work begins"
    other.dispose()
    file_engine.dispose()


def test_a_full_disk_is_unavailable_and_changes_nothing(file_engine: Engine) -> None:
    with begin(file_engine) as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar()

    def fill(conn: Connection) -> None:
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}")
        for number in range(10_000):
            _add(conn, f"worker {number}" * 20)

    with pytest.raises(Unavailable, match="disk is full"):
        transact(file_engine, fill)
    assert _names(file_engine) == []
    with begin(file_engine) as conn:
        _add(conn, "after")
    assert _names(file_engine) == ["after"]
    file_engine.dispose()


def test_a_commit_that_the_disk_refuses_is_unavailable_and_changes_nothing(
    file_engine: Engine, tmp_path: Path
) -> None:
    with begin(file_engine) as conn:
        _add(conn, "before")
        first = conn.connection.dbapi_connection
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = (tmp_path / "own.db-wal").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (written + 100, limits[1]))
        with pytest.raises(Unavailable, match="disk"):
            transact(file_engine, lambda conn: _add(conn, "lost"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert _names(file_engine) == ["before"]
    with begin(file_engine) as conn:
        _add(conn, "after")
        assert conn.connection.dbapi_connection is not first
    assert _names(file_engine) == ["after", "before"]
    file_engine.dispose()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "own.db").write_bytes(os.urandom(8192))
    with pytest.raises(Unavailable), read(make_engine(f"sqlite:///{tmp_path}/own.db")):
        pass


def test_who_writes_in_one_process_waits_in_line_and_always_makes_way(file_engine: Engine) -> None:
    waited: list[float] = []

    def write(fails: bool = False, breaks: bool = False) -> None:
        began = time.monotonic()
        with begin(file_engine) as conn:
            waited.append(time.monotonic() - began)
            _add(conn, f"writer {len(waited)} {began}")
            if breaks:
                conn.invalidate()
            if fails:
                raise ZeroDivisionError

    for breaks in (False, True, False, True):
        with pytest.raises(ZeroDivisionError):
            write(fails=True, breaks=breaks)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write) for _ in range(60)]:
            done.result()
    assert len(_names(file_engine)) == 60
    assert max(waited) < LOCK_TIMEOUT / 2  # who does not leave the line holds the next one as long as that
