"""The web console as a process that is killed, and a person who sits at it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

from tests.ports import free_port
from tests.system import CHECKOUT, System

from .acks import Asked

#: Seconds until the console answers after its start, and until a person gives up waiting for one page.
UP_LIMIT = 60.0
PATIENCE = 20.0
_FORM_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class NoAnswer(OSError):
    """The console did not answer, or not what was asked for."""


class Console:
    """The web of *system*: gunicorn with its worker. It finds the master at *master_port*."""

    def __init__(self, system: System, master_port: int) -> None:
        self._system, self.port = system, free_port()
        ports = {"OMSERVER_WEB_PORT": str(self.port), "OMSERVER_RPYC_PORT": str(master_port)}
        self._environment = {**system.environment, **ports}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start it, if it is not there, and wait until it answers."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._spawn()

    def kill(self) -> None:
        """SIGKILL, to all of its processes."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

    def _spawn(self) -> None:
        log = Path(self._system.home, "logs", "web.log")
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "omserver_master", "web"],
                env=self._environment,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        end = time.monotonic() + UP_LIMIT
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(NoAnswer):
                request(self.port, "GET", "/sign-in", {})
                return
            time.sleep(0.05)
        raise RuntimeError(log.read_text(errors="replace")[-2000:])


class Browser:
    """A person who is signed in.

    Args:
        host_ids: the ids of hosts by their names, as the form of a checked run has them.
    """

    def __init__(self, port: int, user: str, password: str, host_ids: Mapping[str, int]) -> None:
        self._port, self._host_ids = port, host_ids
        self._cookies: dict[str, str] = {}
        self._form_token = self._token("/sign-in")
        self._post("/sign-in", [("user", user), ("password", password)])
        self._form_token = self._token("/settings")

    def submit(self, asked: Asked) -> int:
        """Send the form of a checked run; the job that the console then shows.

        Raises:
            NoAnswer: it is not known whether there is a job now.
        """
        fields = [("module", asked.module), ("params_of", asked.module), ("key", asked.token)]
        fields += [(f"p.{name}", str(value)) for name, value in asked.params.items()]
        fields += [("host_id", str(self._host_ids[name])) for name in asked.hosts]
        fields += [("confirm", str(len(asked.hosts)))]
        found = re.match(r"/jobs/(\d+)", self._post("/run", fields))
        if found is None:
            raise NoAnswer("no job is shown")
        return int(found[1])

    def cancel(self, job: int) -> None:
        """Press Cancel and confirm it.

        Raises:
            NoAnswer: it is not known whether the job is cancelled.
        """
        self._post(f"/jobs/{job}/cancel", [])

    def _token(self, path: str) -> str:
        status, _, page = self._ask("GET", path)
        found = _FORM_TOKEN.search(page)
        if status != 200 or found is None:
            raise NoAnswer(f"{path}: {status}")
        return found[1]

    def _post(self, path: str, fields: Sequence[tuple[str, str]]) -> str:
        """Send a form; the address to which the console leads from it."""
        body = urlencode([*fields, ("csrf_token", self._form_token)])
        status, address, _ = self._ask("POST", path, body)
        if status != 303 or address.startswith("/sign-in"):
            raise NoAnswer(f"{path}: {status} {address}")
        return address

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        answer, page = request(self._port, method, path, {"Cookie": cookies} if cookies else {}, body)
        for header in answer.headers.get_all("Set-Cookie", []):
            name, _, value = header.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer.status, answer.headers.get("Location", ""), page


def request(
    port: int, method: str, path: str, headers: Mapping[str, str], body: str = ""
) -> tuple[http.client.HTTPResponse, str]:
    """One request over a connection of its own.

    Raises:
        NoAnswer: there was none.
    """
    form = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body.encode(), {**headers, **form})
        answer = connection.getresponse()
        return answer, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(str(error)) from error
    finally:
        connection.close()
