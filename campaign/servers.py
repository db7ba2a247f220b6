"""Databases that are killed: a SQLite file, or a MariaDB or PostgreSQL server of our own.

Each commit is on the disk before it is answered, as docs/install.md asks for. A server lives in a folder of
its own under the temporary folder and listens on the loopback address only.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from tests.ports import free_port

from .disk import SIZE

DATABASES = ("sqlite", "mariadb", "postgresql")
START_LIMIT = 60.0
STOP_LIMIT = 20.0
#: Bytes of a small disk that each needs. MariaDB has none: where a table is still smaller than 1 MiB and the
#: disk is full, its 10.11.19 crashes in a rollback, or damages the table's index, whoever writes to it.
DISK_SIZES = {"sqlite": SIZE, "postgresql": 256 * 1024 * 1024}


class SqliteFile:
    """No process that could die."""

    can_die = False

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/omserver.db"

    def start(self) -> None:
        """Nothing to start."""

    def kill(self) -> None:
        """Nothing to kill."""

    def stop(self) -> None:
        """Nothing to stop."""

    def processes(self) -> list[psutil.Process]:
        """None."""
        return []

    def close(self) -> None:
        """Nothing to close."""


class Server:
    """One database server process. As root it runs as the user that Debian's package made for it."""

    can_die = True
    #: What tells it to end in good order.
    stop_signal = signal.SIGTERM

    def __init__(self, package_user: str, where: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="omcdb", dir=where or "/tmp"))  # sockets want short paths
        self.user = package_user if os.geteuid() == 0 else None
        self.password, self.port = secrets.token_hex(8), free_port()
        self.argv: list[str] = []
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    def start(self) -> None:
        """Start it, if it is not there, and wait until it answers, or until somebody has ended it again."""
        if self._process is not None and self._process.poll() is None:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._identity(),
            )
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            ended = self._process.poll()
            if ended is not None and ended > 0:
                break
            if ended is not None or self._answers():
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def _answers(self) -> bool:
        """Whether it lets us in: PostgreSQL takes connections before it is ready for them."""
        engine = create_engine(self.url, poolclass=NullPool, connect_args={"connect_timeout": 2})
        with contextlib.suppress(SQLAlchemyError), engine.connect():
            return True
        return False

    def kill(self) -> None:
        """SIGKILL, to all of its processes."""
        if self._process is not None:
            for process in self.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait(STOP_LIMIT)

    def stop(self) -> None:
        """Let it end in good order; SIGKILL if that takes too long."""
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self.kill()

    def processes(self) -> list[psutil.Process]:
        """All of its processes that live: first the one that started the others."""
        if self._process is None or self._process.poll() is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def close(self) -> None:
        """End it and forget its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make(self, argv: list[str]) -> None:
        """Run a command that makes the data folder."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **self._identity(),
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)

    def _identity(self) -> dict[str, Any]:
        own_group: dict[str, Any] = {"start_new_session": True}
        own_group["env"] = {**os.environ, "TMPDIR": str(self.folder)}  # two at once would share names there
        if self.user:
            own_group |= {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        return own_group


class MariaDB(Server):
    """One mariadbd."""

    def __init__(self, where: Path | None = None) -> None:
        super().__init__("mysql", where)
        data, first = self.folder / "data", self.folder / "first.sql"
        first.write_text(
            "CREATE DATABASE IF NOT EXISTS omserver CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS 'omserver'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON omserver.* TO 'omserver'@'127.0.0.1';\n"
            "GRANT PROCESS ON *.* TO 'omserver'@'127.0.0.1';\n"  # for the evidence: who waits for whom
        )
        first.chmod(0o644)
        made = [program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        self.make([*made, "--skip-name-resolve"])
        self.argv = [program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={self.folder}/s"]
        self.argv += [f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        self.argv += [f"--init-file={first}", f"--pid-file={self.folder}/pid", "--skip-log-bin"]
        self.argv += ["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=1"]
        self.argv += ["--innodb-log-file-size=32M"]
        self.url = f"mysql+pymysql://omserver:{self.password}@127.0.0.1:{self.port}/omserver"


class PostgreSQL(Server):
    """One postgres."""

    stop_signal = signal.SIGINT

    def __init__(self, where: Path | None = None) -> None:
        super().__init__("postgres", where)
        data, word = self.folder / "data", self.folder / "word"
        word.write_text(self.password)
        word.chmod(0o644)
        made = [program("initdb"), "-D", str(data), "-U", "omserver", "--auth=scram-sha-256"]
        self.make([*made, f"--pwfile={word}", "-E", "UTF8", "--no-locale"])
        self.argv = [program("postgres"), "-D", str(data), "-p", str(self.port)]
        self.argv += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        self.argv += ["-c", "min_wal_size=32MB", "-c", "max_wal_size=64MB"]
        self.url = f"postgresql+psycopg://omserver:{self.password}@127.0.0.1:{self.port}/postgres"


def program(name: str) -> str:
    """The path of a database's program.

    Raises:
        FileNotFoundError: it is not installed (tests/install does that).
    """
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, versions)])
    found = shutil.which(name, path=path)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def make_server(database: str, folder: Path, disk: Path | None = None) -> SqliteFile | Server:
    """The server of one of `DATABASES`, started; with *disk* its data is there, and not in *folder*."""
    made: SqliteFile | Server
    if database == "sqlite":
        made = SqliteFile(disk or folder)
    else:
        made = MariaDB(disk) if database == "mariadb" else PostgreSQL(disk)
    made.start()
    return made
