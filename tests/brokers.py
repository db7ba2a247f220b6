"""A private Redis for tests, as a plain process that can be killed, frozen and flushed."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ports import free_port

START_LIMIT = 10.0


class Redis:
    """One redis-server on the loopback address, with a password, that keeps nothing on the disk.

    Args:
        certificate: of the server, and its key: it speaks TLS, then.
    """

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.program = shutil.which("redis-server") or pytest.skip("redis-server is not installed")
        self.port, self.password = free_port(), secrets.token_hex(8)
        self._certificate = certificate
        scheme = "rediss" if certificate else "redis"
        self.url = f"{scheme}://:{self.password}@127.0.0.1:{self.port}/0"
        self._folder = Path(tempfile.mkdtemp(prefix="omredis", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Redis:
        """Start it, and wait until it answers."""
        settings = {
            "port": self.port, "bind": "127.0.0.1", "requirepass": self.password, "dir": self._folder,
            "save": '""', "appendonly": "no",
        }  # fmt: skip
        if self._certificate:
            pem, key = self._certificate
            settings |= {"port": 0, "tls-port": self.port, "tls-cert-file": pem, "tls-key-file": key}
            settings |= {"tls-auth-clients": "no"}
        (self._folder / "redis.conf").write_text("".join(f"{key} {it}\n" for key, it in settings.items()))
        with (self._folder / "log").open("ab") as log:
            argv = [self.program, str(self._folder / "redis.conf")]
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end:
            with suppress(OSError):
                if self._certificate:
                    socket.create_connection(("127.0.0.1", self.port), 5).close()
                else:
                    assert self.say("PING") == "+PONG"
                return self
            time.sleep(0.02)
        raise AssertionError((self._folder / "log").read_text())

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def lives(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        """SIGSTOP: it takes connections, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def say(self, *words: str) -> str:
        """Give a command; the first line of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock, sock.makefile("rw") as talk:
            for command in (("AUTH", self.password), words):
                talk.write(" ".join(command) + "\r\n")
                talk.flush()
                line = talk.readline().strip()
            return line

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
