"""Taking old outputs and old jobs out of the database: transactions of at most about `ROWS` rows each.

Each of them is complete by itself. Outputs are shared: one is deleted when nothing refers to it any more, and
whoever stores a result holds the texts that it refers to (`outputs.put_sealed`). What somebody else holds is
passed over, never waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from .clock import utc_now
from .schema import host_results, job_locks, jobs, outputs, steps

#: Rows that one transaction changes, and rows that one look reads.
ROWS: Final = 500
PAGE: Final = 5000

_OWNERS: Final = (host_results, steps)


def jobs_after(conn: Connection, job_id: int) -> list[RowMapping]:
    """The next `PAGE` jobs after *job_id*, with what decides whether they may go."""
    wanted = jobs.c.id, jobs.c.created, jobs.c.finished, jobs.c.pinned, jobs.c.purged, jobs.c.host_count
    query = select(*wanted).where(jobs.c.id > job_id).order_by(jobs.c.id).limit(PAGE)
    return list(conn.execute(query).mappings())


def empty_jobs(conn: Connection, job_ids: Sequence[int]) -> tuple[bool, int, int, int]:
    """Take the outputs from some of these jobs' rows.

    Answers whether all are empty now, how many became so, and how many texts of how many bytes went.
    """
    held = _hold(conn, job_ids, jobs.c.purged.is_(None))
    if not held:
        return True, 0, 0, 0
    full, number, size = _take_texts(conn, held)
    if full:
        return False, 0, number, size
    conn.execute(update(jobs).where(jobs.c.id.in_(held)).values(purged=utc_now()))
    return True, len(held), number, size


def remove_jobs(conn: Connection, job_ids: Sequence[int]) -> tuple[bool, int, int]:
    """Remove rows of these jobs, which were emptied before, and then the jobs.

    Answers whether all are gone now, and how many jobs and host rows went.
    """
    held = _hold(conn, job_ids, jobs.c.purged.is_not(None))
    if not held:
        return True, 0, 0
    rows = 0
    if _take_texts(conn, held)[0]:  # what came after they were emptied
        return False, 0, 0
    for table in _OWNERS:
        keys = [table.c[column.name] for column in table.primary_key]
        mine = table.c.job_id.in_(held)
        last = conn.execute(select(*keys).where(mine).order_by(*keys).offset(ROWS - 1).limit(1)).first()
        upto = mine if last is None else and_(mine, _until(table, last))
        number = conn.execute(delete(table).where(upto)).rowcount
        rows += number if table is host_results else 0
        if last is not None:
            return False, 0, rows
    conn.execute(delete(job_locks).where(job_locks.c.job_id.in_(held)))
    conn.execute(delete(jobs).where(jobs.c.id.in_(held)))
    return True, len(held), rows


def drop_unused(conn: Connection, texts: Sequence[int]) -> tuple[int, int]:
    """Delete those of these outputs that nothing refers to; how many, and their bytes as they were stored."""
    number = size = 0
    for start in range(0, len(texts), ROWS):
        some = outputs.c.id.in_(texts[start : start + ROWS])
        mine = select(outputs.c.id).where(some).order_by(outputs.c.id).with_for_update(skip_locked=True)
        held = list(conn.execute(mine).scalars())
        # A statement of its own: it sees what was committed before we held them.
        unused = select(outputs.c.id, func.length(outputs.c.body)).where(outputs.c.id.in_(held), *_UNUSED)
        found = [(row[0], row[1]) for row in conn.execute(unused)]
        conn.execute(delete(outputs).where(outputs.c.id.in_([id_ for id_, _ in found])))
        number, size = number + len(found), size + sum(bytes_ for _, bytes_ in found)
    return number, size


def unused_after(conn: Connection, output_id: int) -> tuple[list[int], int | None]:
    """Of the next `PAGE` outputs those that nothing refers to, and the last of the page; None: it is over."""
    page = select(outputs.c.id).where(outputs.c.id > output_id).order_by(outputs.c.id)
    last = conn.execute(page.offset(PAGE - 1).limit(1)).scalar()
    bounds = [outputs.c.id > output_id] + ([] if last is None else [outputs.c.id <= last])
    return list(conn.execute(select(outputs.c.id).where(*bounds, *_UNUSED)).scalars()), last


def bytes_after(conn: Connection, output_id: int) -> tuple[int, int | None]:
    """What the next `PAGE` outputs take as they are stored, and the last of the page; None: it is over."""
    page = select(outputs.c.id, func.length(outputs.c.body).label("bytes")).where(outputs.c.id > output_id)
    some = page.order_by(outputs.c.id).limit(PAGE).subquery()
    found = conn.execute(select(func.sum(some.c.bytes), func.max(some.c.id), func.count()).select_from(some))
    size, last, number = found.one()
    return int(size or 0), last if number == PAGE else None


def _hold(conn: Connection, job_ids: Sequence[int], condition: ColumnElement[bool]) -> list[int]:
    """Those of the jobs that may still go, locked: a late answer waits until we are done."""
    free = jobs.c.id.in_(job_ids), jobs.c.finished.is_not(None), jobs.c.pinned.is_(False), condition
    query = select(jobs.c.id).where(*free).order_by(jobs.c.id)
    return list(conn.execute(query.with_for_update(skip_locked=True)).scalars())


def _take_texts(conn: Connection, job_ids: Sequence[int]) -> tuple[bool, int, int]:
    """Take outputs from rows of these jobs: whether there may be more, and how many texts and bytes went."""
    full, texts = False, set[int]()
    for table in _OWNERS:
        found = _let_go(conn, table, job_ids)
        full = full or len(found) == ROWS
        texts.update(id_ for row in found for id_ in (row.stdout_id, row.stderr_id) if id_ is not None)
    number, size = drop_unused(conn, sorted(texts))
    return full, number, size


def _let_go(conn: Connection, table: Table, job_ids: Sequence[int]) -> list[Any]:
    """Take the outputs from the first `ROWS` rows that have any; the rows as they were."""
    keys = [table.c[column.name] for column in table.primary_key]
    has = or_(table.c.stdout_id.is_not(None), table.c.stderr_id.is_not(None))
    mine = table.c.job_id.in_(job_ids)
    query = select(*keys, table.c.stdout_id, table.c.stderr_id).where(mine, has).order_by(*keys).limit(ROWS)
    found = list(conn.execute(query))
    if found:
        upto = update(table).where(mine, has, _until(table, found[-1]))
        conn.execute(upto.values(stdout_id=None, stderr_id=None))
    return found


def _until(table: Table, row: Any) -> ColumnElement[bool]:
    """Rows whose primary key is not greater than that of *row*, which has the key in front."""
    keys = list(table.primary_key)
    same = [column == row[place] for place, column in enumerate(keys)]
    less = [and_(*same[:place], column < row[place]) for place, column in enumerate(keys)]
    return or_(*less, and_(*same))


_UNUSED: Final = [
    ~exists().where(table.c[name] == outputs.c.id) for table in _OWNERS for name in ("stdout_id", "stderr_id")
]
