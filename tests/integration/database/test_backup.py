"""A backup while others write, and back again: into the same kind of database and into another one."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from past import Past
from sqlalchemy import Engine, select, text, update

from omserver_master.errors import BackupRefused, DatabaseBehind
from omserver_master.store import (
    audit,
    backup,
    connections,
    jobs,
    outputs,
    restore,
    results,
    schema,
    schema_version,
)
from omserver_master.store.archive import Reader, Writer
from omserver_master.store.engine import begin, make_engine, read, transact
from omserver_master.store.sitekey import SiteKey


@pytest.fixture
def past(engine: Engine, site_key: SiteKey) -> Past:
    return Past(engine, site_key)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database."""
    engine = make_engine(f"sqlite:///{tmp_path}/other.db")
    yield engine
    engine.dispose()


def _everything(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with read(engine) as conn:
        tables = [table for table in schema.metadata.sorted_tables if table not in backup.LEFT_OUT]
        return {
            table.name: [tuple(row) for row in conn.execute(select(table).order_by(*table.primary_key))]
            for table in tables
        }


def test_all_comes_back_on_another_database_and_on_the_first_again(
    past: Past, other: Engine, tmp_path: Path, site_key: SiteKey
) -> None:
    job = past.job(3, [b"\xff\0 binary \n" * 1000, "查看".encode(), b""], pinned=True, before=b"a step")
    with begin(past.engine) as conn:
        audit.append(conn, action="job.submit", user="ünï", detail="查看\0")
        connections.add_connection(conn, "dc1", "salt", {}, ["gd-1", "sz-1"])
    before = _everything(past.engine)
    counts = backup.save(past.engine, tmp_path / "one", site_key)
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600

    assert restore.restore(other, tmp_path / "one", "root") == {n: c for n, c in counts.items() if c}
    told = _everything(other)
    assert told.pop("audit_events")[:-1] == before.pop("audit_events")
    assert told == before
    schema_version.require_current(other)

    backup.save(other, tmp_path / "two", site_key)
    with begin(past.engine) as conn:  # as after a restore that was cut off: it begins anew
        conn.execute(text(f"UPDATE alembic_version SET version_num = '{restore.UNDER_WAY}'"))
    with pytest.raises(DatabaseBehind):
        schema_version.require_current(past.engine)
    restore.restore(past.engine, tmp_path / "two", "root")
    again = _everything(past.engine)
    again.pop("audit_events")
    assert again == before
    with read(past.engine) as conn:
        state = audit.verify(conn, site=site_key)
        assert [row["action"] for row in audit.list_audit(conn, limit=2)] == ["db.restore", "db.restore"]
        assert state.rows == 3
        row = results.results(conn, job)[0]
        assert outputs.get_output(conn, site_key, row["stdout_id"]) == b"\xff\0 binary \n" * 1000
    assert past.job(0, [b"new"]) > job  # counters go on behind what came back


def test_what_was_under_way_is_interrupted_and_never_runs_again(
    past: Past, other: Engine, tmp_path: Path, site_key: SiteKey
) -> None:
    job, queued = past.job(0, [b"done", b"sent", b"waits"]), past.job(0, [b"x"])
    with begin(past.engine) as conn:
        open_again = {"finished": None, "state": "running", "worker": "w1", "lease_until": 2e9}
        conn.execute(update(schema.jobs).values(open_again))
        conn.execute(update(schema.jobs).where(schema.jobs.c.id == queued).values(state="queued"))
        for place, state in ((1, "dispatched"), (2, "pending")):
            host = schema.host_results.c.host_id == past.hosts[place]
            conn.execute(update(schema.host_results).where(host).values(state=state, finished=None))
        conn.execute(schema.job_locks.insert().values(job_id=job, name="a lock"))
        conn.execute(update(schema.jobs).where(schema.jobs.c.id == job).values(until=2e9))
        attempt = jobs.job_row(conn, job)["attempt"]  # type: ignore[index]
    backup.save(past.engine, tmp_path / "one", site_key)
    restore.restore(other, tmp_path / "one", "root")
    with read(other) as conn:
        assert conn.execute(select(schema.job_locks)).all() == []
        assert jobs.job_row(conn, job)["until"] < 2e9  # type: ignore[index]
        for id_ in (job, queued):
            row = jobs.job_row(conn, id_)
            assert row is not None
            assert (row["state"], row["worker"], row["lease_until"]) == ("interrupted", None, None)
            assert row["finished"] is not None
            assert row["attempt"] == attempt + 1
            assert "restored" in row["reason"] or "brought back" in row["reason"]
        rows = results.results(conn, job)
        assert [row["state"] for row in rows] == ["ok", "unknown", "not_started"]
        assert "look at the host" in rows[1]["reason"]


def test_a_backup_under_writes_holds_one_moment(
    past: Past, other: Engine, tmp_path: Path, site_key: SiteKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_PAGE", 3)
    for n in range(10):
        past.job(1, [b"%d" % n])
    stop = threading.Event()

    def write(worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            past.job(1, [b"w %d %d" % (worker, number), b"common"], before=b"s %d" % number)
            transact(past.engine, lambda conn: audit.append(conn, action="job.submit"))

    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for writer in writers:
        writer.start()
    try:
        for n in range(3):
            backup.save(past.engine, tmp_path / f"{n}", site_key)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    restore.restore(other, tmp_path / "2", "root")  # what another row refers to must be there: foreign keys
    with read(other) as conn:
        audit.verify(conn, site=site_key)
        for row in conn.execute(select(schema.jobs)).mappings():
            rows = results.results(conn, row["id"])
            assert len(rows) == row["host_count"]
            assert row["state"] != "succeeded" or {one["state"] for one in rows} == {"ok"}
            for one in rows:
                outputs.get_output(conn, site_key, one["stdout_id"])


@pytest.fixture
def kept(past: Past, tmp_path: Path, site_key: SiteKey) -> Path:
    past.job(1, [b"text"])
    backup.save(past.engine, tmp_path / "kept", site_key)
    return tmp_path / "kept"


def test_a_database_that_holds_something_is_left_alone(past: Past, kept: Path) -> None:
    before = _everything(past.engine)
    with pytest.raises(BackupRefused, match="not empty"):
        restore.restore(past.engine, kept, "root")
    assert _everything(past.engine) == before


def test_a_backup_that_is_not_whole_or_of_another_version_changes_nothing(kept: Path, other: Engine) -> None:
    good = kept.read_bytes()
    for bad in (
        b"", b"anything", good[:-1], good[: len(good) // 2], good[:200] + b"\0" + good[201:],
        good[:-70] + b"0" * 69 + b"\n",
    ):  # fmt: skip
        kept.write_bytes(bad)
        with pytest.raises(BackupRefused):
            restore.restore(other, kept, "root")
    kept.unlink()
    with Writer(kept, {"version": "0001"}):
        pass
    with pytest.raises(BackupRefused, match="is of version 0001"):
        restore.restore(other, kept, "root")
    with read(other) as conn:
        assert schema_version.current(conn) is None


def test_the_key_is_in_it_only_if_asked_for_and_another_key_is_refused(
    past: Past, kept: Path, tmp_path: Path, site_key: SiteKey
) -> None:
    for path, key in ((kept, None), (tmp_path / "with", "the key")):
        if key:
            backup.save(past.engine, path, site_key, key)
        archive = Reader(path)
        archive.close()
        assert archive.head["site_key"] == key
    restore.check_key(archive.head, site_key)
    with pytest.raises(BackupRefused, match="site key"):
        restore.check_key(archive.head, SiteKey.of(bytes(range(1, 33))))
    with pytest.raises(BackupRefused, match="already"):
        backup.save(past.engine, kept, site_key)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix == ".part") == []
