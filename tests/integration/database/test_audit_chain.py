"""The audit chain: one row after another, and no change to it goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, select, update

from omserver_master.errors import AuditBroken
from omserver_master.store import audit
from omserver_master.store.engine import begin, read, transact
from omserver_master.store.schema import audit_events


@pytest.fixture
def chain(engine: Engine) -> Engine:
    with begin(engine) as conn:
        for number in range(20):
            audit.append(conn, action="job.submit", user=f"user {number}", detail="查看\0 \ud800 'x'")
    return engine


def test_a_chain_that_nobody_touched_holds(chain: Engine) -> None:
    with read(chain) as conn:
        state = audit.verify(conn)
        assert state.rows == 20
        assert audit.verify(conn, head=state.head) == state


def test_many_writers_at_once_make_one_chain(chain: Engine) -> None:
    def write(number: int) -> None:
        transact(chain, lambda conn: audit.append(conn, action="login", user=str(number)))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, number) for number in range(80)]:
            done.result()
    with read(chain) as conn:
        assert audit.verify(conn).rows == 100


def test_a_row_goes_with_its_action(chain: Engine) -> None:
    def work(conn: Connection) -> None:
        audit.append(conn, action="job.submit")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transact(chain, work)
    with read(chain) as conn:
        assert audit.verify(conn).rows == 20


def _ids(conn: Connection) -> list[int]:
    return list(conn.execute(select(audit_events.c.id).order_by(audit_events.c.id)).scalars())


def _change(column: str, value: Any) -> Callable[[Connection], object]:
    def change(conn: Connection) -> object:
        row = audit_events.c.id == _ids(conn)[10]
        return conn.execute(update(audit_events).where(row).values({column: value}))

    return change


def _remove(place: slice) -> Callable[[Connection], object]:
    return lambda conn: conn.execute(delete(audit_events).where(audit_events.c.id.in_(_ids(conn)[place])))


def _swap(conn: Connection) -> None:
    one, two = _ids(conn)[4:6]
    for before, after in ((one, -1), (two, one), (-1, two)):
        conn.execute(update(audit_events).where(audit_events.c.id == before).values(id=after))


def _forge_alone(conn: Connection) -> None:
    """Change a row and make its own hash right again."""
    row = dict(conn.execute(select(audit_events).where(audit_events.c.id == _ids(conn)[10])).mappings().one())
    row["user"] = "somebody else"
    row["hash"] = audit._hash(row)
    conn.execute(update(audit_events).where(audit_events.c.id == row["id"]).values(row))


@pytest.mark.parametrize(
    "tamper",
    [
        *(_change(name, "x") for name in ("user", "key", "address", "action", "target", "outcome", "detail")),
        _change("time", 1.0), _change("hash", "f" * 64), _change("previous", "f" * 64),
        _remove(slice(0, 1)), _remove(slice(10, 12)), _swap, _forge_alone,
    ],
)  # fmt: skip
def test_a_changed_removed_or_moved_row_breaks_the_chain(
    chain: Engine, tamper: Callable[[Connection], object]
) -> None:
    with begin(chain) as conn:
        tamper(conn)
        with pytest.raises(AuditBroken):
            audit.verify(conn)


def test_a_cut_off_end_shows_by_a_hash_noted_before(chain: Engine) -> None:
    with begin(chain) as conn:
        head = audit.verify(conn).head
        _remove(slice(15, None))(conn)
        assert audit.verify(conn).rows == 15
        with pytest.raises(AuditBroken, match="cut off"):
            audit.verify(conn, head=head)


def test_rows_are_listed_newest_first_and_filtered(chain: Engine) -> None:
    with read(chain) as conn:
        newest = audit.list_audit(conn, limit=2)
        assert [row["user"] for row in newest] == ["user 19", "user 18"]
        older = audit.list_audit(conn, limit=1, before=newest[-1]["id"])
        assert [row["user"] for row in older] == ["user 17"]
        assert len(audit.list_audit(conn, limit=99, user="user 3", action="job.submit")) == 1
        assert audit.list_audit(conn, limit=99, action="login") == []


def test_fields_longer_than_their_column_are_cut_not_refused(chain: Engine) -> None:
    with begin(chain) as conn:
        audit.append(conn, action="a" * 99, target="查" * 999, user="u" * 999, detail="d" * 99_999)
        audit.verify(conn)
