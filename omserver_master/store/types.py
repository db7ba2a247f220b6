"""Column types that behave alike on SQLite, MariaDB and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql

_MYSQL = ("mysql", "mariadb")

#: A primary key that counts up by itself; SQLite does that for INTEGER only.
Id = BigInteger().with_variant(Integer(), "sqlite")
_LongText = Text().with_variant(mysql.LONGTEXT(), *_MYSQL)
LongBytes = LargeBinary().with_variant(mysql.LONGBLOB(), *_MYSQL)


def storable(text: str) -> str:
    """*text* as every database takes it: no NUL and no half of a surrogate pair, whoever wrote it."""
    if text.isascii() and "\0" not in text:
        return text  # nearly all are
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class Word(TypeDecorator[str]):
    """Short text of a bounded number of characters."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Prose(TypeDecorator[str]):
    """Text of any length."""

    impl = _LongText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class UtcTime(TypeDecorator[float]):
    """Unix seconds in Python; a UTC date and time, to the microsecond, in the database."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), *_MYSQL)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> float | None:
        return None if value is None else value.replace(tzinfo=UTC).timestamp()


class Json(TypeDecorator[Any]):
    """Any JSON value, stored as compact text with sorted names."""

    impl = _LongText
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)
