"""What a database's error means for us: try again, say that it is unavailable, or our own mistake."""

from __future__ import annotations

from enum import Enum

from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class Failure(Enum):
    """The value is the sentence that people read."""

    OURS = "The statement is wrong."
    LOST = "The database is busy: other writers went first."
    DISK_FULL = "The database's disk is full; nothing was changed."
    BROKEN_DISK = "The database's disk does not accept writes; nothing was changed."
    TOO_SLOW = "The database took too long to answer."
    DOWN = "The database cannot be reached."


def judge(error: SQLAlchemyError) -> Failure:
    """What *error* means."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return Failure.OURS
    verdict = _VERDICTS.get(type(error.orig).__module__.partition(".")[0], _of_number)(error.orig)
    return Failure.DOWN if error.connection_invalidated and verdict is Failure.OURS else verdict


def _of_message(orig: BaseException) -> Failure:
    text = str(orig)
    return next((failure for words, failure in _SQLITE if words in text), Failure.OURS)


def _of_sqlstate(orig: BaseException) -> Failure:
    sqlstate = getattr(orig, "sqlstate", None)
    if not sqlstate:  # it never got as far as the server's own answer
        return (
            Failure.DOWN if type(orig).__name__ in ("OperationalError", "ConnectionTimeout") else Failure.OURS
        )
    return next((failure for code, failure in _POSTGRESQL if sqlstate.startswith(code)), Failure.OURS)


def _of_number(orig: BaseException) -> Failure:
    number = orig.args[0] if orig.args else None
    return _MARIADB.get(number, Failure.OURS) if isinstance(number, int) else Failure.OURS


_VERDICTS = {"sqlite3": _of_message, "psycopg": _of_sqlstate, "pymysql": _of_number}

_SQLITE = (
    ("database is locked", Failure.LOST),
    ("database table is locked", Failure.LOST),
    ("database or disk is full", Failure.DISK_FULL),
    ("disk I/O error", Failure.BROKEN_DISK),
    ("readonly database", Failure.BROKEN_DISK),
    ("unable to open database file", Failure.DOWN),
    ("database disk image is malformed", Failure.DOWN),
    ("file is not a database", Failure.DOWN),
    ("interrupted", Failure.TOO_SLOW),
)

_POSTGRESQL = (
    ("40001", Failure.LOST),  # serialization failure
    ("40P01", Failure.LOST),  # deadlock
    ("55P03", Failure.LOST),  # lock timeout
    ("53100", Failure.DISK_FULL),
    ("53", Failure.DOWN),  # no memory, no connection left
    ("58030", Failure.BROKEN_DISK),
    ("25006", Failure.BROKEN_DISK),  # read only
    ("57014", Failure.TOO_SLOW),
    ("57P", Failure.DOWN),  # shutting down, starting up
    ("08", Failure.DOWN),
    ("28", Failure.DOWN),  # login refused
    ("3D000", Failure.DOWN),  # no such database
)

_MARIADB = {
    1205: Failure.LOST,  # lock wait timeout
    1213: Failure.LOST,  # deadlock
    1020: Failure.LOST,  # record has changed since last read
    1021: Failure.DISK_FULL,
    1114: Failure.DISK_FULL,  # the table is full
    3: Failure.BROKEN_DISK,  # a file cannot be written
    1026: Failure.BROKEN_DISK,
    1030: Failure.BROKEN_DISK,  # the storage engine says no more than a number
    1180: Failure.BROKEN_DISK,  # the commit failed
    1290: Failure.BROKEN_DISK,  # read only
    1034: Failure.DOWN,  # an index is damaged
    1712: Failure.DOWN,
    1969: Failure.TOO_SLOW,  # max_statement_time
    3024: Failure.TOO_SLOW,
    1040: Failure.DOWN,  # too many connections
    1044: Failure.DOWN,  # access denied
    1045: Failure.DOWN,
    1049: Failure.DOWN,  # no such database
    1053: Failure.DOWN,  # shutting down
    1927: Failure.DOWN,  # connection was killed
    2002: Failure.DOWN,
    2003: Failure.DOWN,
    2006: Failure.DOWN,
    2013: Failure.DOWN,
}
