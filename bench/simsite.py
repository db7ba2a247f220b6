"""A whole OMServer with invented hosts, on a database that keeps what it has committed, for P5 to P9."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from omserver_master.store import connections, hosts
from omserver_master.store.engine import begin
from omserver_master.store.schema import host_connections, server_list
from tests import databases
from tests.system import CHECKOUT, System

from .pairs import Compared, compare
from .saltrows import MODULE, SOURCE

DATABASES = ("sqlite", "mariadb", "postgresql")
WAY = "invented"


@dataclass(frozen=True)
class Load:
    """On which database, for how many seconds, how many of what the row is about (0: as many as it says)."""

    database: str = "sqlite"
    seconds: float = 60.0
    size: int = 0


@dataclass(frozen=True)
class SimSite:
    """The OMServer, which runs, and the names of its hosts."""

    system: System
    hosts: Sequence[str]


@contextmanager
def sim_site(
    load: Load,
    number: int,
    *,
    size: int = 0,
    seconds: float = 0.01,
    rules: Mapping[str, Mapping[str, Any]] | None = None,
    names: Sequence[str] = (),
) -> Iterator[SimSite]:
    """*number* hosts that answer after *seconds*, with *size* bytes that no other says (0: their names).

    Or hosts with these *names*, that do as the *rules* of ``backends/sim/fleet.py`` say.
    """
    names = names or [f"sim-{place:06}" for place in range(number)]
    rules = rules or {"*": {"seconds": seconds} | ({"bytes": size} if size else {})}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="omb", dir="/tmp")))
        (folder / "modules").mkdir()
        (folder / "modules" / f"Mid_{MODULE}.py").write_text(SOURCE)
        settings = {"modules_dir": folder / "modules", "confirm_above": 1_000_000, "workers": 2}
        if load.database != "sqlite":
            server = databases.mariadb_url if load.database == "mariadb" else databases.postgresql_url
            settings["database_url"] = stack.enter_context(server(durable=True))
        system = System(folder / "home", **settings)
        stack.callback(system.close)
        stack.enter_context(_fleet(folder / "fleet", json.dumps(rules)))
        _furnish(system, names, folder / "fleet")
        system.start()
        yield SimSite(system, names)


@contextmanager
def _fleet(path: Path, rules: str) -> Iterator[None]:
    words = [sys.executable, "-m", "omserver_master.backends.sim.fleet", str(path), rules]
    process = subprocess.Popen(words, cwd=CHECKOUT, env=dict(os.environ), stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _furnish(system: System, names: Sequence[str], socket: Path) -> None:
    way = system.add_connection(WAY, "sim", {"socket": str(socket)})
    with begin(system.engine) as conn:
        app = hosts.add_app(conn, hosts.add_category(conn, "Linux.Web"), "www.domain.com")
        first = hosts.add_host(conn, names[0], lip="10.0.0.1", os="Debian", app_id=app)
        connections.link_host(conn, first, way, names[0])
        if len(names) == 1:
            return
        known = select(server_list).where(server_list.c.server_name == names[0])
        plain = dict(conn.execute(known).mappings().one())
        del plain["ID"]
        rest = [plain | {"server_name": name, "name_key": name} for name in names[1:]]
        link = dict(conn.execute(select(host_connections)).mappings().first() or {})
        for start in range(0, len(rest), 1000):
            conn.execute(insert(server_list), rest[start : start + 1000])
        rows = conn.execute(
            select(server_list.c.ID, server_list.c.server_name).where(server_list.c.server_name != names[0])
        )
        links = [link | {"host_id": row.ID, "remote_id": row.server_name} for row in rows]
        for start in range(0, len(links), 1000):
            conn.execute(insert(host_connections), links[start : start + 1000])
        assert conn.execute(select(func.count()).select_from(server_list)).scalar_one() == len(names)


def held(work: str, value: float, limit: float, *, unit: str = "s", more: bool = False) -> Compared:
    """One figure against what is wanted: at most *limit*, or with *more* at least that."""
    ours = ("OMServer", lambda: value)
    wanted = ("wanted", lambda: limit)
    return compare(work, ours, wanted, pairs=1, unit=unit, target=1.0, more=more, warm=0)


def percentile(numbers: Sequence[float], share: float) -> float:
    """The number that *share* of *numbers* (0 to 1) do not exceed."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
