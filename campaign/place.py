"""A real OMServer that is meant to be hurt: master, workers, database, invented hosts with their ledger."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import select

from omserver_client import Client, connect
from omserver_master.failpoints import VARIABLE
from omserver_master.store.engine import begin
from omserver_master.store.schema import server_list
from tests.ending import Guard
from tests.system import CHECKOUT, System

from .console import Browser, Console
from .disk import Disk
from .link import Link
from .process import CLOCK_OWNERS, CLOCKS, DEFECT, PACE
from .servers import DISK_SIZES, Server, make_server

MODULES = Path(__file__).parent / "modules"
#: Hosts that do as they are told; that take their time whatever they are told; that answer oddly.
OBEDIENT = [f"h-{number:02}" for number in range(1, 33)]
SLOW = ["late-1", "late-2"]
ODD = ["twice-1", "stranger-1"]
#: That answers when a time limit of a second is long over.
TARDY = "tardy-1"
RULES = {
    "h-*": {"ending": "obeys"},
    "late-*": {"seconds": 0.7},
    "tardy-*": {"seconds": 7.0},
    "twice-*": {"seconds": 0.2, "ending": "twice"},
    "stranger-*": {"seconds": 0.2, "ending": "stranger"},
}
#: Seconds until a master answers after its start.
UP_LIMIT = 60.0
#: Alembic makes the tables of one database at a time in a process.
_ONE_AT_A_TIME = threading.Lock()


class CampaignSystem(System):
    """A master that is started through the campaign's own entry."""

    argv = (sys.executable, "-m", "campaign.process", "master")


class Place:
    """All of it in one folder, until :meth:`close`.

    ``obedient`` are hosts that do as they are told, ``slow`` those that take their time.

    Args:
        database: one of `servers.DATABASES`.
        pace: what all claims, heartbeats and pauses are multiplied with.
        defect: the name of one of `defects.DEFECTS`.
        web: whether there is a console, too.
        links: whether callers reach the master, and it and its workers the database server, through `Link`s.
        disk: whether the database's files are on a small disk of their own (as root); one of `DISK_SIZES`.
    """

    obedient: Sequence[str] = tuple(OBEDIENT)
    slow: Sequence[str] = tuple(SLOW)
    odd: Sequence[str] = tuple(ODD)
    #: Whether the ledger has a line for work that was stopped.
    tells_of_stops = True

    def __init__(
        self,
        database: str = "sqlite",
        *,
        pace: float = 1.0,
        defect: str = "",
        workers: int = 2,
        web: bool = False,
        links: bool = False,
        disk: bool = False,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="omcamp", dir="/tmp"))  # sockets want short paths
        self.database, self.pace = database, pace
        self.points = self.folder / "points"
        self.points.mkdir()
        self.ledger_file, self.modules = self.folder / "ledger", MODULES
        self.socket = self.folder / "sim"
        self._stopped: dict[int, float] = {}
        self._lock = threading.RLock()
        self._known: dict[int, psutil.Process] = {}
        self.links: dict[str, Link] = {}
        self.console: Console | None = None
        with contextlib.ExitStack() as ends:
            ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._start_fleet(ends)
            self.disk = Disk(self.folder / "disk", DISK_SIZES[database]) if disk else None
            if self.disk is not None:
                self.folder.chmod(0o711)  # a server is another user
                ends.callback(self.disk.close)
            self.server = make_server(database, self.folder, self.disk.folder if self.disk else None)
            ends.callback(self.server.close)
            with _ONE_AT_A_TIME:
                self.system = CampaignSystem(
                    self.folder / "home",
                    modules_dir=self.modules,
                    workers=workers,
                    database_url=self.server.url,
                )
            ends.callback(self.system.engine.dispose)
            ends.callback(self._end_processes)
            self.system.environment |= {VARIABLE: str(self.points), PACE: str(pace), DEFECT: defect}
            self.system.environment[CLOCKS] = str(self.folder)
            if links:
                self._link(ends)
            self._add_hosts()
            self._prepare(ends)
            self.system.start()
            self._session = self._login()
            if web:
                self.console = Console(self.system, self._caller_port)
                ends.callback(self.console.kill)
                self.console.start()
            self._ends = ends.pop_all()

    def close(self) -> None:
        """End everything that was started here, and forget it."""
        self._ends.close()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is there

    def client(self) -> Client:
        """A new client of the admin's."""
        client = connect(
            "127.0.0.1", self._caller_port, self.system.home / "keys" / "omctl.key", timeout=15.0
        )
        client.session = self._session
        return client

    def browser(self) -> Browser:
        """The admin at the console, signed in."""
        assert self.console is not None
        with begin(self.system.engine) as conn:
            found = conn.execute(select(server_list.c.server_name, server_list.c.ID))
            ids = {row.server_name: row.ID for row in found}
        return Browser(self.console.port, "admin", self.system.passwords["admin"], ids)

    def ledger(self) -> list[dict[str, Any]]:
        """What the hosts wrote down so far."""
        lines = self.ledger_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def workers(self) -> list[psutil.Process]:
        """The workers that this master started, and the orphans of masters before it."""
        self._know(self.system.pid)
        return [process for process in list(self._known.values()) if _is_worker(process)]

    def _know(self, parent: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(parent).children():
                self._known.setdefault(child.pid, child)

    def children(self) -> list[psutil.Process]:
        """The processes in which module code runs."""
        found = []
        for worker in self.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += worker.children()
        return found

    # -- faults

    def arm(self, name: str, action: str = "kill") -> None:
        """Let *action* happen when a process reaches the failpoint *name* for the next time."""
        self.disarm()
        part = self.points / f".{name}"
        part.write_text(action)
        part.rename(self.points / name)

    def disarm(self) -> None:
        """Nothing happens at any failpoint from now on."""
        for file in self.points.iterdir():
            file.unlink(missing_ok=True)

    def fired(self, name: str) -> bool:
        """Whether the failpoint that was armed was reached."""
        return (self.points / f"{name}.done").exists()

    def kill_master(self) -> None:
        """SIGKILL to the master alone: its workers end what they have begun."""
        self.workers()
        with self._lock, contextlib.suppress(ProcessLookupError):
            os.kill(self.system.pid, signal.SIGKILL)

    def kill_all(self) -> None:
        """SIGKILL to the master with its workers and children."""
        self.workers()
        with self._lock, contextlib.suppress(ProcessLookupError):
            os.killpg(self.system.pid, signal.SIGKILL)

    def end_master(self) -> None:
        """SIGTERM to the master: it and its workers end in good order."""
        self.workers()
        with self._lock, contextlib.suppress(ProcessLookupError):
            os.kill(self.system.pid, signal.SIGTERM)

    def writers(self) -> list[psutil.Process]:
        """The processes that write the database's files."""
        if self.server.can_die:
            return self.server.processes()
        return [*([psutil.Process(self.system.pid)] if self.is_up() else []), *self.workers()]

    def kill_console(self) -> bool:
        """SIGKILL to the console, if there is one."""
        if self.console is not None:
            self.console.kill()
        return self.console is not None

    def suspend(self, process: psutil.Process, seconds: float) -> None:
        """SIGSTOP; :meth:`mend` sends SIGCONT after *seconds*."""
        with self._lock, contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
            self._stopped[process.pid] = time.monotonic() + seconds
            self._known.setdefault(process.pid, process)

    def cut(self) -> bool:
        """Nobody reaches the invented hosts any more; False if there are none."""
        with contextlib.suppress(FileNotFoundError):
            self.socket.rename(f"{self.socket}.cut")
            return True
        return False

    def join(self) -> None:
        """They can be reached again."""
        with contextlib.suppress(FileNotFoundError):
            Path(f"{self.socket}.cut").rename(self.socket)

    def set_link(self, name: str, state: str) -> bool:
        """Let one of the links be one of `link.STATES`; False if there is none of that name."""
        if name in self.links:
            self.links[name].set(state)
        return name in self.links

    def set_clock(self, whose: str, seconds: float) -> None:
        """Let the clock of the ``master``, or that of each ``worker``, be so far from the others'."""
        part = self.folder / f".clock.{whose}"
        part.write_text(str(seconds))
        part.rename(self.folder / f"clock.{whose}")

    # -- and their ends

    def mend(self) -> None:
        """Start again what is dead, and wake what slept long enough."""
        with self._lock:
            self.server.start()
            self._wake_due()
            if not self.is_up():
                self._start_master()
            if self.console is not None:
                self.console.start()

    def is_up(self) -> bool:
        """Whether the master's process lives."""
        process = self.system.process
        return process is not None and process.poll() is None

    def heal(self) -> None:
        """The end of all faults."""
        for name in self.links:
            self.set_link(name, "open")
        for whose in CLOCK_OWNERS:
            self.set_clock(whose, 0.0)
        if self.disk is not None:
            self.disk.empty()
        self.join()
        self.disarm()
        self._resume_all()
        self.mend()

    def wake_sleepers(self) -> None:
        """SIGCONT to whatever a failpoint stopped."""
        if self.system.process is None:
            return
        for process in [psutil.Process(self.system.pid), *self.workers()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_STOPPED:
                    process.resume()

    def _resume_all(self) -> None:
        with self._lock:
            for pid in list(self._stopped):
                self._resume(pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            self.wake_sleepers()

    def _wake_due(self) -> None:
        now = time.monotonic()
        for pid in [pid for pid, until in self._stopped.items() if until <= now]:
            self._resume(pid)

    def _resume(self, pid: int) -> None:
        del self._stopped[pid]
        with contextlib.suppress(psutil.NoSuchProcess):
            self._known[pid].resume()

    def _start_master(self) -> None:
        end = time.monotonic() + UP_LIMIT
        while True:
            try:
                self.system.start()
                return
            except AssertionError:
                if time.monotonic() > end:
                    raise
                self.server.start()
                self._wake_due()  # a database that is asleep: without it no master starts
                time.sleep(0.2)

    @property
    def _caller_port(self) -> int:
        return self.links["callers"].port if "callers" in self.links else self.system.port

    def _link(self, ends: contextlib.ExitStack) -> None:
        self.links["callers"] = Link(self.system.port)
        if isinstance(self.server, Server):
            self.links["database"] = link = Link(self.server.port)
            url = self.server.url.replace(f":{self.server.port}/", f":{link.port}/")
            self.system.environment["OMSERVER_DATABASE_URL"] = url
        for link in self.links.values():
            ends.callback(link.close)

    def _end_processes(self) -> None:
        self._resume_all()
        self.workers()  # so that orphans are known
        with contextlib.suppress(Exception):
            self.system.stop(signal.SIGKILL)
        for process in self._known.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _prepare(self, ends: contextlib.ExitStack) -> None:
        """What has to be there before the master starts."""

    def _add_hosts(self) -> None:
        way = self.system.add_connection("invented", "sim", {"socket": str(self.socket)})
        self.system.add_hosts([*OBEDIENT, *SLOW, *ODD, TARDY], way)

    def _start_fleet(self, ends: contextlib.ExitStack) -> None:
        argv = [sys.executable, "-m", "campaign.fleet", str(self.socket), json.dumps(RULES)]
        argv.append(str(self.ledger_file))
        fleet = subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        ends.callback(fleet.wait, 10)
        ends.callback(fleet.kill)
        ends.callback(Guard(fleet.pid).call_off)
        while not self.socket.exists():
            if fleet.poll() is not None:
                raise RuntimeError("the invented hosts did not start")
            time.sleep(0.02)

    def _login(self) -> str | None:
        with self.system.client() as client:
            return client.session


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "worker" in process.cmdline()
    except psutil.NoSuchProcess:
        return False
