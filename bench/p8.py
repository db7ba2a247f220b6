"""P8: the list of jobs and its filters, where a million jobs were run: ten results each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, literal, select

from omserver_client import Client
from omserver_master.store.engine import begin
from omserver_master.store.schema import host_results, jobs, users

from .pairs import Compared
from .simsite import Load, held, percentile, sim_site

JOBS = 1_000_000
#: Jobs that are written by hand; the others are copies, a block at a time.
BLOCK = 1000
HOSTS, PEOPLE, MODULES, EACH = 1000, 20, 50, 10
#: Calls of each kind.
CALLS = 20
STATES = ("succeeded",) * 16 + ("failed", "failed", "cancelled", "interrupted")


def measure(pairs: int, only: str, load: Load) -> list[Compared]:
    """All figures of this row whose name has *only* in it; *pairs* is for the rows with two sides."""
    number = load.size or JOBS
    with sim_site(load, HOSTS) as site, closing(site.system.client()) as client:
        oldest = time.time() - 300 * 86_400
        _fill(site.system.engine, number, oldest)
        _settled(site.system.engine)
        client.timeout = 300.0
        found = {name: _calls(client, ask) for name, ask in _asks(number, oldest).items() if only in name}
    on = f"{number} jobs on {load.database}"
    rows = [
        held(f"{name}: 95 of 100 take at most, {on}", percentile(t, 0.95), 0.3) for name, t in found.items()
    ]
    together = [seconds for taken in found.values() for seconds in taken]
    return [*rows, held(f"all of them: 95 of 100 take at most, {on}", percentile(together, 0.95), 0.3)]


def _asks(number: int, oldest: float) -> dict[str, Callable[[random.Random], dict[str, Any]]]:
    """The filters of each kind of list."""
    length = 300 * 86_400

    def host(dice: random.Random) -> str:
        return f"sim-{dice.randrange(HOSTS):06}"

    def module(dice: random.Random) -> str:
        return str(2000 + dice.randrange(MODULES))

    def person(dice: random.Random) -> str:
        return f"person-{dice.randrange(PEOPLE)}"

    return {
        "newest": lambda dice: {},
        "page far back": lambda dice: {"before": dice.randrange(60, number)},
        "module": lambda dice: {"module": module(dice)},
        "person": lambda dice: {"user": person(dice)},
        "state": lambda dice: {"state": dice.choice(STATES)},
        "state that none has": lambda dice: {"state": "expired"},
        "host": lambda dice: {"host": host(dice)},
        "time": lambda dice: {"until": oldest + length * dice.random()},
        "module and person": lambda dice: {"module": module(dice), "user": person(dice)},
        "host and state": lambda dice: {"host": host(dice), "state": "failed"},
        "person, state and time": lambda dice: {
            "user": person(dice), "state": "cancelled", "since": oldest + length * dice.random(),
        },
    }  # fmt: skip


def _calls(client: Client, ask: Callable[[random.Random], dict[str, Any]]) -> list[float]:
    dice, taken = random.Random(4711), []
    for _ in range(CALLS):
        filters = ask(dice)
        began = time.perf_counter()
        client.jobs(**filters)
        taken.append(time.perf_counter() - began)
    return taken


def _fill(engine: Engine, number: int, oldest: float) -> None:
    """Write *number* jobs with `EACH` results, spread over hosts, people, modules, states and time."""
    with engine.connect() as conn:  # it stays in the pool, and is the one that is used below
        if conn.dialect.name == "sqlite":
            conn.connection.dbapi_connection.execute("PRAGMA synchronous = OFF")  # type: ignore[union-attr]
    with begin(engine) as conn:
        shift = conn.execute(select(func.max(jobs.c.id))).scalar() or 0
        block = min(BLOCK, number)
        _write_block(conn, shift, block, oldest)
    copied = {column.name: column for column in jobs.columns}
    rows = {column.name: column for column in host_results.columns}
    for done in range(block, number, block):
        size = min(block, number - done)
        when = oldest + 300 * 86_400 * done / number
        of_block = jobs.c.id > shift, jobs.c.id <= shift + size
        changed = {
            "id": jobs.c.id + done, "message_id": jobs.c.message_id + f"+{done}",
            "created": literal(when, jobs.c.created.type),
            "finished": literal(when + 1, jobs.c.finished.type),
        }  # fmt: skip
        mine = host_results.c.job_id > shift, host_results.c.job_id <= shift + size
        with begin(engine) as conn:
            _hurry(conn)
            conn.execute(
                insert(jobs).from_select(list(copied), select(*(copied | changed).values()).where(*of_block))
            )
            others = rows | {"job_id": host_results.c.job_id + done}
            conn.execute(insert(host_results).from_select(list(rows), select(*others.values()).where(*mine)))


def _settled(engine: Engine) -> None:
    """Let PostgreSQL know what it holds, as it finds out by itself where rows come over months."""
    if engine.dialect.name == "postgresql":
        with begin(engine) as conn:
            conn.exec_driver_sql("ANALYZE")


def _hurry(conn: Connection) -> None:
    """These rows need not outlive a power cut, and refer to what is there."""
    words = {
        "sqlite": ("PRAGMA cache_size = -500000",),
        "postgresql": ("SET LOCAL synchronous_commit = off", "SET LOCAL session_replication_role = replica"),
    }
    for word in words.get(conn.dialect.name, ("SET SESSION unique_checks = 0, foreign_key_checks = 0",)):
        conn.exec_driver_sql(word)


def _write_block(conn: Connection, shift: int, block: int, oldest: float) -> None:
    first = conn.execute(select(users)).mappings().first()
    assert first is not None
    people = [dict(first) | {"name": f"person-{n}", "name_key": f"person-{n}"} for n in range(PEOPLE)]
    ids = []
    for person in people:
        del person["id"]
        key = conn.execute(insert(users).values(person)).inserted_primary_key
        assert key is not None
        ids.append(key[0])
    dice = random.Random(block)
    plain = {
        "module_sha256": "a" * 64, "params": {"lines": "50"}, "key_kid": "k" * 16, "request_hash": "b" * 64,
        "repeat": "once", "timeout": 60, "start_before": oldest, "created": oldest, "started": oldest,
        "finished": oldest + 1, "worker": "w", "attempt": 1, "event": 3, "host_count": EACH, "title": "A",
    }  # fmt: skip
    made, results = [], []
    for place in range(block):
        who, id_ = dice.randrange(PEOPLE), shift + 1 + place
        made.append(
            plain
            | {"id": id_, "module": str(2000 + dice.randrange(MODULES)), "message_id": f"bench {id_}"}
            | {"user_id": ids[who], "user": f"person-{who}", "state": dice.choice(STATES)}
        )
        for host in dice.sample(range(HOSTS), EACH):
            results.append(
                {"job_id": id_, "host_id": host + 1, "host": f"sim-{host:06}", "state": "ok", "event": 3}
            )
    conn.execute(insert(jobs), made)
    for start in range(0, len(results), 500):
        conn.execute(insert(host_results), results[start : start + 500])
