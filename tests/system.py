"""A real OMServer for tests: a master with its workers as a process of its own, a database, keys, people."""

from __future__ import annotations

import os
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine

from omserver_client import Client, NotReached, connect
from omserver_client.errors import Unavailable
from omserver_master.access.keys import create_key
from omserver_master.access.passwords import hash_password
from omserver_master.settings import Settings, load_settings, open_home
from omserver_master.store import connections, grants, hosts, users
from omserver_master.store.engine import begin, make_engine
from omserver_master.store.schema_version import upgrade
from omserver_master.store.seed import seed
from omserver_master.store.sitekey import make_site_key
from tests.ending import Guard
from tests.ports import free_port

CHECKOUT = Path(__file__).resolve().parent.parent


class System:
    """One OMServer under *home*. Passwords of its people are in ``passwords``."""

    #: What starts a master.
    argv: Sequence[str] = (sys.executable, "-m", "omserver_master", "master")

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OMSERVER_")},
            "OMSERVER_HOME": str(home),
            "OMSERVER_RPYC_PORT": str(self.port),
            **{f"OMSERVER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.passwords: dict[str, str] = {}
        self.tls: ssl.SSLContext | None = None
        self._sessions: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self.log = home / "logs" / "master.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guarded: Guard | None = None
        self._furnish()

    @property
    def settings(self) -> Settings:
        return load_settings(self.environment)

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The master's process, also after its death; None before the start and after the stop."""
        return self._process

    def _furnish(self) -> None:
        open_home(self.settings)
        self.site_key = make_site_key(self.settings.site_key)
        self.engine = make_engine(self.settings.database_url)
        upgrade(self.engine)
        with begin(self.engine) as conn:
            seed(conn)
        self.add_user("admin", "admin")
        self.add_key("omctl", "admin")
        self.add_key("web", "admin")

    def add_user(self, name: str, role: str | None = None, **scope: Any) -> int:
        """An account with a password of its own; *scope* as of ``grants.add_grant``."""
        self.passwords[name] = secrets.token_urlsafe(18)
        with begin(self.engine) as conn:
            user = users.add_user(conn, name, hash_password(self.passwords[name]))
            if role:
                grants.add_grant(conn, user, role, **scope)
        return user

    def add_key(self, name: str, role: str = "operator", service: str | None = None) -> Path:
        """A client key; the path of its file."""
        path = self.home / "keys" / f"{name}.key"
        with begin(self.engine) as conn:
            account = users.user_by_name(conn, service) if service else None
            create_key(conn, self.site_key, name, path, role, account["id"] if account else None)
        return path

    def add_connection(self, name: str, kind: str, settings: Mapping[str, Any] | None = None) -> int:
        with begin(self.engine) as conn:
            return connections.add_connection(conn, name, kind, settings or {})

    def add_hosts(
        self, names: Sequence[str], connection: int, app: str = "www.domain.com", **more: Any
    ) -> None:
        """Hosts that are reached over one connection, under their own names."""
        with begin(self.engine) as conn:
            category = hosts.add_category(conn, more.pop("category", "Linux.Web"))
            app_id = hosts.add_app(conn, category, app)
            for number, name in enumerate(names, start=1):
                address = f"10.0.{app_id}.{number}"
                host = hosts.add_host(conn, name, lip=address, os="Debian", app_id=app_id)
                connections.link_host(conn, host, connection, name)

    def start(self) -> System:
        """Start the master and wait until it answers."""
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                env=self.environment,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._guard(self._process.pid)
        self._wait_until_up()
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the master with a signal, and all that it started."""
        process, self._process = self._process, None
        self._guard(None)
        if process is None:
            return
        process.send_signal(number)  # to one that has ended already it does nothing
        try:
            process.wait(15)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)

    def _guard(self, group: int | None) -> None:
        """See to it that the master's *group*, and none that was here before, ends with this process."""
        if self._guarded is not None:
            self._guarded.call_off()
        self._guarded = Guard(group) if group is not None else None

    def close(self) -> None:
        self.stop()
        self.engine.dispose()

    def client(self, key: str = "omctl", user: str | None = "admin", **options: Any) -> Client:
        """A client with that key, in the session of *user* (None: nobody); one session for both."""
        path = self.home / "keys" / f"{key}.key"
        client = connect("127.0.0.1", self.port, path, tls=self.tls, **options)
        if user is not None:
            client.session = self._session(client, key, user)
        return client

    def _session(self, client: Client, key: str, user: str) -> str:
        with self._lock:
            if (key, user) not in self._sessions:
                self._sessions[key, user] = client.login(user, self.passwords[user])["session"]
            return self._sessions[key, user]

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"the master ended:\n{self.log.read_text()[-3000:]}")
            try:
                with closing(self.client(user=None)):
                    return
            except NotReached:
                time.sleep(0.1)
        raise AssertionError(f"the master did not answer:\n{self.log.read_text()[-3000:]}")


def wait_for_end(client: Client, job: int, seconds: float = 60) -> dict[str, Any]:
    """The job once it is over."""
    deadline, since = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        answer = client.events(job, since, wait=2)
        since = answer["event"]
        if answer["job"]["finished"] is not None:
            found: dict[str, Any] = answer["job"]
            return found
    raise AssertionError(f"job {job} did not end: {client.job(job)}")


def freeze(process: psutil.Process, engine: Engine) -> psutil.Process:
    """SIGSTOP to *process*, at a moment when it does not hold the lock of SQLite for which others wait."""
    for _ in range(20):
        process.suspend()
        while not all(_is_stopped(thread.id) for thread in process.threads()):
            time.sleep(0.01)
        with suppress(Unavailable), begin(engine):
            return process
        process.resume()
        time.sleep(0.1)
    raise AssertionError("it held the lock each time")


def _is_stopped(thread: int) -> bool:
    """Whether it stands still: the signal reaches one thread, and others go on until that has its turn."""
    return Path(f"/proc/{thread}/stat").read_text().rpartition(")")[2].split()[0] == "T"
