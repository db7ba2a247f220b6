"""One running master: the RPyC server in this process, and worker processes beside it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from sqlalchemy import Connection

from omserver_client.errors import LoginFailed, Refused, Unavailable

from . import audit
from .access import sessions
from .access.keys import KeyRing
from .access.throttle import LoginThrottle
from .dispatcher import Dispatcher
from .failpoints import reach
from .jobs.bell import ANY, Bell, Changes
from .jobs.submission import Rules
from .keeping import Keep, Keeper
from .operations.context import Site
from .registry.pool import ChildPool
from .registry.registry import Registry
from .settings import Settings
from .store import leases, workers
from .store.engine import make_engine, transact
from .store.schema_version import require_current
from .store.sitekey import read_site_key
from .wire.bridge import Bridge
from .wire.certificates import server_context
from .wire.doors import Doors
from .wire.server import HardenedServer, Limits

log = logging.getLogger(__name__)

#: Database connections of a master: its callers wait in threads, few of them in the database at once.
POOL = 20
#: Warm children that describe modules.
DESCRIBERS = 1
#: A worker that ends is started again after so many seconds, at most.
LONGEST_PAUSE = 10.0
#: Seconds that workers get to end.
STOP_LIMIT = 8.0


class Master:
    """Serves callers and keeps workers running, from ``with`` to its end.

    Raises:
        CannotListen: the port is taken.
        DatabaseBehind: the tables are not those of this version.
    """

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(settings.database_url, pool_size=POOL)
        require_current(self._engine)
        site_key = read_site_key(settings.site_key)
        self._pool = ChildPool(DESCRIBERS)
        self._changes = Changes()
        self._keeper = Keeper(self._engine, site_key, Keep.of(settings))
        names = [f"{os.uname().nodename}-{os.getpid()}-{number}" for number in range(1, settings.workers + 1)]
        self._workers = [WorkerProcess(name, self._changes, self._bury) for name in names]
        registry = Registry(settings.modules_dir, self._pool)
        self.site = Site(
            settings=settings,
            engine=self._engine,
            registry=registry,
            rules=Rules(registry, settings.confirm_above),
            throttle=LoginThrottle(),
            site_key=site_key,
            changes=self._changes,
            ring=self._ring,
        )
        doors = Doors(Dispatcher(self.site).dispatch, self._check_login, self._audit_refusal)
        ring = KeyRing(self._engine, site_key)
        limits = Limits(max_frame=settings.max_frame)
        tls = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            tls = server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        bridge = None
        if settings.allow_rc4_clients:
            bridge = Bridge(settings.secret_key, frozenset(settings.rc4_client_addresses))
            log.warning(
                "RC4 clients are served from %s: passwords in clear, tasks without integrity",
                ", ".join(settings.rc4_client_addresses),
            )
        self.server = HardenedServer(
            settings.rpyc_host, settings.rpyc_port, doors, ring, limits=limits, tls=tls, bridge=bridge
        )

    def __enter__(self) -> Master:
        for worker in self._workers:
            worker.start()
        self.server.start_in_background()
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()
        self._keeper.stop()
        end = time.monotonic() + STOP_LIMIT
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.stop(max(0.1, end - time.monotonic()))
        self._pool.close()
        self._engine.dispose()

    def _bury(self, worker: str) -> None:
        """A worker process is gone: what it held is settled at once, not when its leases run out."""
        try:
            transact(self._engine, lambda conn: self._give_up(conn, worker))
            transact(self._engine, lambda conn: workers.forget_worker(conn, worker))
        except Unavailable as error:
            log.warning("the leases of %s run out by themselves: %s", worker, error)

    @staticmethod
    def _give_up(conn: Connection, worker: str) -> None:
        leases.give_up_leases(conn, worker)
        reach("bury.before_commit")

    def _ring(self, job: int = ANY) -> None:
        for worker in self._workers:
            worker.bell.ring(job)

    def _check_login(self, user: str, password: str, address: str) -> bool:
        outcome = "ok"
        try:
            sessions.check_login(self._engine, self.site.throttle, user, password, address)
        except Refused as refusal:
            outcome = refusal.code
            if not isinstance(refusal, LoginFailed):
                log.warning("login of %r from %s refused: %s", user, address, refusal)
        audit.login(self._engine, user, address, outcome)
        return outcome == "ok"

    def _audit_refusal(self, address: str, kid: str, reason: str) -> None:
        audit.unopened(self._engine, address, kid, reason)


class WorkerProcess:
    """A worker process that is started again when it ends by itself."""

    def __init__(self, name: str, changes: Changes, bury: Callable[[str], None]) -> None:
        self.name = name
        self.bell, self._far_end = Bell.pair()
        self._changes = changes
        self._bury = bury
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name=f"keeps {name}", daemon=True)
        self._listener = threading.Thread(target=self._listen, name=f"hears {name}", daemon=True)

    def start(self) -> None:
        self._keeper.start()
        self._listener.start()

    def ask_to_stop(self) -> None:
        """Tell the process to end; does not wait."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float) -> None:
        """Wait until the process is gone; after *seconds*, end it the hard way."""
        self.ask_to_stop()
        self._keeper.join(seconds)
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(5.0)
        self._listener.join(2.0)
        self.bell.close()
        self._far_end.close()

    def _keep(self) -> None:
        pause = 0.2
        while not self._stopping.is_set():
            began = time.monotonic()
            self._process = self._spawn()
            if self._stopping.is_set():
                self._process.terminate()
            code = self._process.wait()
            self._bury(self.name)
            if self._stopping.is_set():
                return
            log.error("worker %s ended with code %s; starting it again", self.name, code)
            pause = 0.2 if time.monotonic() - began > 60 else min(LONGEST_PAUSE, pause * 2)
            self._stopping.wait(pause)

    def _spawn(self) -> subprocess.Popen[bytes]:
        fd = self._far_end.fileno()
        argv = [sys.executable, "-m", "omserver_master", "worker", "--name", self.name, "--bell", str(fd)]
        argv += ["--parent", str(os.getpid())]
        return subprocess.Popen(argv, pass_fds=[fd], stdin=subprocess.DEVNULL)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            if heard := self.bell.wait(1.0):
                self._changes.announce(heard)
