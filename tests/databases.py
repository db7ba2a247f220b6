"""Databases for the tests: a SQLite file, and private MariaDB and PostgreSQL servers as plain processes.

Each server lives in a folder of its own under the temporary folder, listens on a free port of the loopback
address, and is stopped by its process id. As root it runs as the user that Debian's package made for it.
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
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port

START_LIMIT = 60


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder}/test.db"


@contextlib.contextmanager
def mariadb_url(durable: bool = False) -> Iterator[str]:
    """A MariaDB server; *durable*: as for real, what was committed is on the disk."""
    server, install = _program("mariadbd"), _program("mariadb-install-db")
    with _folder("mysql") as (folder, user):
        data, password, port = folder / "data", secrets.token_hex(8), free_port()
        first = folder / "first.sql"
        first.write_text(
            "CREATE DATABASE IF NOT EXISTS omserver CHARACTER SET utf8mb4;"
            f"CREATE USER IF NOT EXISTS 'omserver'@'127.0.0.1' IDENTIFIED BY '{password}';"
            "GRANT ALL ON omserver.* TO 'omserver'@'127.0.0.1';".replace(";", ";\n")
        )
        first.chmod(0o644)
        made = [install, "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve"]
        _run(made, folder, user)
        started = [server, "--no-defaults", f"--datadir={data}", f"--socket={folder}/s", f"--port={port}"]
        started += ["--bind-address=127.0.0.1", "--skip-name-resolve", f"--init-file={first}"]
        started += [f"--tmpdir={folder}"]
        started += [f"--pid-file={folder}/pid", f"--innodb-buffer-pool-size={1024 if durable else 32}M"]
        started += [f"--innodb-flush-log-at-trx-commit={int(durable)}", "--skip-log-bin"]
        with _process(started, folder, user, port, signal.SIGTERM):
            yield f"mysql+pymysql://omserver:{password}@127.0.0.1:{port}/omserver"


@contextlib.contextmanager
def postgresql_url(durable: bool = False) -> Iterator[str]:
    """A PostgreSQL server; *durable*: as for real, what was committed is on the disk."""
    server, install = _program("postgres"), _program("initdb")
    with _folder("postgres") as (folder, user):
        data, password, port = folder / "data", secrets.token_hex(8), free_port()
        word = folder / "word"
        word.write_text(password)
        word.chmod(0o644)
        made = [install, "-D", str(data), "-U", "omserver", "--auth=scram-sha-256", f"--pwfile={word}"]
        _run([*made, "-E", "UTF8", "--no-locale", "--no-sync"], folder, user)
        started = [server, "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        started += ["-c", f"unix_socket_directories={folder}", "-c", f"fsync={'on' if durable else 'off'}"]
        with _process(started, folder, user, port, signal.SIGINT):
            yield f"postgresql+psycopg://omserver:{password}@127.0.0.1:{port}/postgres"


def _program(name: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *map(str, versions)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed (see tests/install)")
    return found


@contextlib.contextmanager
def _folder(package_user: str) -> Iterator[tuple[Path, str | None]]:
    """A folder with a short path, and the user to run as: None, if that is ourselves."""
    folder = Path(tempfile.mkdtemp(prefix="omdb", dir="/tmp"))
    user = package_user if os.geteuid() == 0 else None
    try:
        if user:
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        yield folder, user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _identity(user: str | None) -> dict[str, object]:
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}


def _run(argv: list[str], folder: Path, user: str | None) -> None:
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False, **_identity(user)
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def _process(
    argv: list[str], folder: Path, user: str | None, port: int, stop: signal.Signals
) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **_identity(user)
        )
    try:
        _wait_for(process, port, folder / "log")
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())
