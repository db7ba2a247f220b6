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
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.ports import free_port

DATABASES = ("sqlite", "mariadb", "postgresql")
START_LIMIT = 60.0


class SqliteFile:
    """No process that could die."""

    can_die = False

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/omserver.db"

    def start(self) -> None:
        """Nothing to start."""

    def kill(self) -> None:
        """Nothing to kill."""

    def close(self) -> None:
        """Nothing to close."""


class Server:
    """One database server process. As root it runs as the user that Debian's package made for it."""

    can_die = True

    def __init__(self, package_user: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="omcdb", dir="/tmp"))  # sockets want short paths
        self.user = package_user if os.geteuid() == 0 else None
        self.password, self.port = secrets.token_hex(8), free_port()
        self.argv: list[str] = []
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    def start(self) -> None:
        """Start it, if it is not there, and wait until it takes connections."""
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
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def kill(self) -> None:
        """SIGKILL, to all of its processes."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

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

    def __init__(self) -> None:
        super().__init__("mysql")
        data, first = self.folder / "data", self.folder / "first.sql"
        first.write_text(
            "CREATE DATABASE IF NOT EXISTS omserver CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS 'omserver'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON omserver.* TO 'omserver'@'127.0.0.1';\n"
        )
        first.chmod(0o644)
        made = [program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        self.make([*made, "--skip-name-resolve"])
        self.argv = [program("mariadbd"), "--no-defaults", f"--datadir={data}", f"--socket={self.folder}/s"]
        self.argv += [f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        self.argv += [f"--init-file={first}", f"--pid-file={self.folder}/pid", "--skip-log-bin"]
        self.argv += ["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=1"]
        self.url = f"mysql+pymysql://omserver:{self.password}@127.0.0.1:{self.port}/omserver"


class PostgreSQL(Server):
    """One postgres."""

    def __init__(self) -> None:
        super().__init__("postgres")
        data, word = self.folder / "data", self.folder / "word"
        word.write_text(self.password)
        word.chmod(0o644)
        made = [program("initdb"), "-D", str(data), "-U", "omserver", "--auth=scram-sha-256"]
        self.make([*made, f"--pwfile={word}", "-E", "UTF8", "--no-locale"])
        self.argv = [program("postgres"), "-D", str(data), "-p", str(self.port)]
        self.argv += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
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


def make_server(database: str, folder: Path) -> SqliteFile | Server:
    """The server of one of `DATABASES`, started."""
    made: SqliteFile | Server
    if database == "sqlite":
        made = SqliteFile(folder)
    else:
        made = MariaDB() if database == "mariadb" else PostgreSQL()
    made.start()
    return made
