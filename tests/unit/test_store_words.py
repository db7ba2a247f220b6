"""The store's small pure parts: names, first lines, ends, what an error means, the site key."""

from __future__ import annotations

import sqlite3

import psycopg.errors
import pymysql.err
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from omserver_client.errors import BadRequest
from omserver_master.errors import SiteKeyError
from omserver_master.jobs.states import FINAL_HOST, HOST_STATES, OPEN_HOST
from omserver_master.store.failures import Failure, judge
from omserver_master.store.names import check_name, name_key
from omserver_master.store.outputs import FIRST_LINE, first_line
from omserver_master.store.results import UNCERTAIN, may_replace
from omserver_master.store.sitekey import SiteKey
from omserver_master.store.types import storable


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc"])))
def test_any_text_becomes_one_that_every_database_takes(text: str) -> None:
    stored = storable(text)
    stored.encode("utf-8")
    assert "\0" not in stored
    assert storable(stored) == stored


@given(st.binary(max_size=2000))
def test_a_first_line_is_short_printable_and_one_line(text: bytes) -> None:
    line = first_line(text)
    assert len(line) <= FIRST_LINE
    assert not any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in line)
    assert line == line.strip() or len(line) == FIRST_LINE


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", ""), (b"\n \t\n", ""), (b"\r\n  Debian 12  \r\nmore", "Debian 12"),
        (b"\x1b[1;31mred\x1b[0m", "red"), ("查看\n".encode(), "查看"), (b"\xff\xfe", "��"), (b"a\0b", "ab"),
    ],
)  # fmt: skip
def test_the_first_line_is_the_first_that_says_something(text: bytes, line: str) -> None:
    assert first_line(text) == line


def test_names_are_equal_whatever_case_and_composition() -> None:
    assert name_key("WEB-01") == name_key("web-01")
    assert name_key("Zo\u00eb") == name_key("ZOE\u0308")


@pytest.mark.parametrize("name", ["", " a", "a ", "a\tb", "a\0", "\u202eevil", "x" * 256])
def test_a_name_that_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        check_name(name, "user")


def test_an_end_is_final_except_where_we_were_not_certain() -> None:
    allowed = {
        (before, after) for before in HOST_STATES for after in HOST_STATES if may_replace(before, after)
    }
    first_ends = {(before, after) for before in OPEN_HOST for after in FINAL_HOST}
    late_ends = {(before, after) for before in UNCERTAIN for after in FINAL_HOST - UNCERTAIN}
    assert allowed == first_ends | late_ends


def _error(orig: BaseException, invalidated: bool = False) -> SQLAlchemyError:
    return DBAPIError("statement", {}, orig, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (_error(sqlite3.OperationalError("database is locked")), Failure.LOST),
        (_error(sqlite3.OperationalError("database or disk is full")), Failure.DISK_FULL),
        (_error(sqlite3.OperationalError("disk I/O error")), Failure.BROKEN_DISK),
        (_error(sqlite3.OperationalError("attempt to write a readonly database")), Failure.BROKEN_DISK),
        (_error(sqlite3.OperationalError("no such table: jobs")), Failure.OURS),
        (_error(sqlite3.IntegrityError("UNIQUE constraint failed")), Failure.OURS),
        (_error(pymysql.err.OperationalError(1213, "Deadlock found")), Failure.LOST),
        (_error(pymysql.err.OperationalError(1021, "Disk full")), Failure.DISK_FULL),
        (_error(pymysql.err.OperationalError(1026, "Error writing file")), Failure.BROKEN_DISK),
        (_error(pymysql.err.InternalError(1034, "Index is corrupt")), Failure.DOWN),
        (_error(pymysql.err.OperationalError(2003, "Can't connect")), Failure.DOWN),
        (_error(pymysql.err.ProgrammingError(1146, "no such table")), Failure.OURS),
        (_error(pymysql.err.OperationalError("odd"), invalidated=True), Failure.DOWN),
        (_error(psycopg.errors.DeadlockDetected("deadlock")), Failure.LOST),
        (_error(psycopg.errors.SerializationFailure("serialization")), Failure.LOST),
        (_error(psycopg.errors.DiskFull("full")), Failure.DISK_FULL),
        (_error(psycopg.errors.QueryCanceled("timeout")), Failure.TOO_SLOW),
        (_error(psycopg.errors.AdminShutdown("down")), Failure.DOWN),
        (_error(psycopg.OperationalError("connection refused")), Failure.DOWN),
        (_error(psycopg.errors.UndefinedTable("table")), Failure.OURS),
        (SQLAlchemyError("ours"), Failure.OURS),
    ],
)  # fmt: skip
def test_an_error_of_each_database_is_understood(error: SQLAlchemyError, failure: Failure) -> None:
    assert judge(error) is failure


def test_each_use_of_the_site_key_has_a_key_of_its_own() -> None:
    site = SiteKey.of(bytes(range(32)))
    digest = site.digest(b"text")
    sealed = site.seal_output(b"text", digest)
    assert site.open_output(sealed, digest) == b"text"
    for wrong in (
        lambda: site.open_client_key(sealed, digest),
        lambda: site.open_output(sealed, "another"),
        lambda: site.open_output(sealed[:-1] + bytes([sealed[-1] ^ 1]), digest),
        lambda: site.open_output(b"", digest),
        lambda: SiteKey.of(bytes(range(1, 33))).open_output(sealed, digest),
    ):
        with pytest.raises(SiteKeyError):
            wrong()
    assert site.seal_output(b"text", digest) != sealed
    assert "key" not in repr(site).lower().replace("sitekey", "")
