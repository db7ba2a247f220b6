"""Which workers are known: those that were seen, until they stop or were not seen for very long."""

from __future__ import annotations

from sqlalchemy import Engine, update

from omserver_master.store import clock, schema, workers
from omserver_master.store.engine import begin, read


def test_a_worker_that_stopped_is_forgotten_and_so_is_one_that_was_silent_for_long(engine: Engine) -> None:
    with begin(engine) as conn:
        for name in ("stops", "stays", "silent", "dead"):
            workers.beat(conn, name)
        for name, seconds in (("silent", 3_000), ("dead", 4_000)):
            seen = clock.now(conn) - seconds
            conn.execute(update(schema.workers).where(schema.workers.c.name == name).values(last_seen=seen))
        workers.forget_worker(conn, "stops", silent_seconds=3_600)
    with read(engine) as conn:
        rows = workers.list_workers(conn)
    assert {row["name"]: bool(row["alive"]) for row in rows} == {"stays": True, "silent": False}
