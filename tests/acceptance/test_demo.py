"""``omserver demo`` as a newcomer runs it, with real Salt minions; and what the README says to do then."""

from __future__ import annotations

import getpass
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
HOSTS = ("web-01", "web-02", "web-03")
#: Seconds that the first start, a later one, and the end may take here; the README has the measured ones.
FIRST, AGAIN, STOP = 120, 20, 30


@dataclass
class Place:
    """The data folder and the ports of one demo."""

    home: Path
    modules: Path
    environment: Mapping[str, str]

    def omserver(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run omserver here to its end."""
        command = [sys.executable, "-m", "omserver_master", *words]
        return subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def omctl(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run omctl here to its end."""
        command = [sys.executable, "-m", "omserver_client.omctl", *words]
        return subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def left_over(self) -> list[str]:
        """Processes that belong to this demo and still run."""
        mark = f"OMSERVER_HOME={self.home}".encode()
        return [_described(process) for process in psutil.process_iter() if mark in _environ(process)]


def _environ(process: psutil.Process) -> bytes:
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes() if process.pid != os.getpid() else b""
    except OSError:
        return b""


def _described(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {process.cmdline()}"
    except psutil.Error:
        return str(process.pid)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    # A long path with a space in it: nothing in the demo may depend on a short one.
    home = tmp_path_factory.mktemp("deep") / ("a long name " * 8).strip() / "home"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMSERVER_")}
    ports = {"OMSERVER_RPYC_PORT": str(free_port()), "OMSERVER_WEB_PORT": str(free_port())}
    modules = tmp_path_factory.mktemp("site") / "modules"
    shutil.copytree(ROOT / "modules", modules)
    folders = {"OMSERVER_HOME": str(home), "OMSERVER_MODULES_DIR": str(modules)}
    return Place(home, modules, kept | ports | folders)


@pytest.fixture(scope="module")
def first(place: Place) -> subprocess.CompletedProcess[str]:
    """The first start, which ends after its first result."""
    return place.omserver("demo", "--once", timeout=FIRST)


class Running:
    """A demo that stays until it is told to end."""

    def __init__(self, place: Place) -> None:
        command = [sys.executable, "-m", "omserver_master", "demo"]
        self.process = subprocess.Popen(
            command,
            env=place.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.place = place
        self.said = ""
        #: A machine that is busy with other things has no say about how quick we are.
        self.limit = AGAIN if os.getloadavg()[0] < (os.cpu_count() or 1) else 3 * AGAIN
        started = time.monotonic()
        self._read_until("Everything runs")
        self.seconds = time.monotonic() - started

    def _read_until(self, wanted: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if wanted in line:
                return
        pytest.fail(f"the demo ended:\n{self.said}")

    def end(self, number: int) -> int:
        """Send it a signal and wait for its end."""
        self.process.send_signal(number)
        self.said += self.process.communicate(timeout=STOP)[0]
        return self.process.returncode


@pytest.fixture(scope="module")
def running(place: Place, first: subprocess.CompletedProcess[str]) -> Iterator[Running]:
    assert first.returncode == 0, first.stdout + first.stderr
    demo = Running(place)
    yield demo
    if demo.process.poll() is None:
        assert demo.end(signal.SIGINT) == 0


@pytest.fixture(scope="module")
def password(running: Running) -> str:
    """A new password for the admin, made as the demo says."""
    ended = running.place.omserver("user", "reset-password", "admin")
    assert ended.returncode == 0, ended.stderr
    found = re.search(r"\S{20,}$", ended.stdout, re.MULTILINE)
    assert found, ended.stdout
    return found[0]


@pytest.mark.timeout(FIRST)
def test_the_first_start_shows_three_answers_and_a_password_and_leaves_no_process(
    place: Place, first: subprocess.CompletedProcess[str]
) -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    answers = [line.split()[:2] for line in first.stdout.splitlines() if line.startswith("ok ")]
    assert sorted(answers) == [["ok", host] for host in HOSTS]
    assert re.search(r"password: \S{20,}", first.stdout)
    assert place.left_over() == []


def test_the_second_start_is_quick_and_shows_no_password(running: Running) -> None:
    assert running.seconds < running.limit, running.said
    assert "shown this once" not in running.said
    assert "reset-password admin" in running.said


def test_the_console_answers_where_the_demo_says(running: Running) -> None:
    address = re.search(r"http://(127\.0\.0\.1):(\d+)", running.said)
    assert address
    line = http.client.HTTPConnection(address[1], int(address[2]), timeout=10)
    line.request("GET", "/health")
    assert line.getresponse().status == 200
    line.close()


def test_another_demo_on_the_same_folder_is_refused_and_harms_nothing(running: Running) -> None:
    ended = running.place.omserver("demo", "--once")
    assert ended.returncode == 1
    assert "OMSERVER_HOME" in ended.stderr
    assert running.process.poll() is None


def test_a_demo_on_taken_ports_is_refused_and_names_the_setting(running: Running, tmp_path: Path) -> None:
    elsewhere = dict(running.place.environment) | {"OMSERVER_HOME": str(tmp_path / "home")}
    other = Place(tmp_path, running.place.modules, elsewhere)
    ended = other.omserver("demo", "--once")
    assert ended.returncode == 1
    assert "OMSERVER_RPYC_PORT" in ended.stderr


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README in *language*; an empty one means that none is named."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return [block for named, block in fences if named == language]


def test_the_ten_lines_of_the_readme_run_on_the_demo(
    running: Running, password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = next(block for block in blocks("python") if "omserver_client" in block)
    for name, value in running.place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(getpass, "getpass", lambda: password)
    exec(compile(lines, "README.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said] == [["web-01", "ok"], ["web-02", "ok"], ["succeeded"]]
    assert len([line for line in lines.splitlines() if line]) <= 10


def test_the_commands_of_the_readme_run_on_the_demo(running: Running, password: str) -> None:
    shown = [
        line for block in blocks("") for line in block.splitlines() if line.startswith(".venv/bin/omctl")
    ]
    assert len(shown) == 3
    for line in shown:
        words = line.split()[1:]
        login = words[0] == "login"
        ended = running.place.omctl(*words, *["--password-stdin"] * login, stdin=f"{password}\n" * login)
        assert ended.returncode == 0, ended.stderr


def test_the_module_of_the_readme_is_there_once_it_is_saved(running: Running, password: str) -> None:
    shown = next(block for block in blocks("python") if "Modulehandle" in block)
    named = re.search(r"`modules/(Mid_(\d+)\.py)`, and it is there", (ROOT / "README.md").read_text())
    assert named
    (running.place.modules / named[1]).write_text(shown)
    running.place.omctl("login", "admin", "--password-stdin", stdin=f"{password}\n")
    ended = running.place.omctl("run", named[2], "--host", "web-03", "-p", "folder=/tmp", "--output")
    assert ended.returncode == 0, ended.stderr
    assert "Filesystem" in ended.stdout


def test_when_told_to_end_it_says_so_and_leaves_no_process(running: Running) -> None:
    assert running.end(signal.SIGTERM) == 0
    assert "Stopping" in running.said
    assert running.place.left_over() == []


def test_even_when_it_is_killed_nothing_stays(place: Place, running: Running) -> None:
    if running.process.poll() is None:
        running.end(signal.SIGTERM)
    demo = Running(place)
    assert place.left_over()
    demo.process.kill()
    demo.process.communicate()
    deadline = time.monotonic() + STOP
    while place.left_over():
        assert time.monotonic() < deadline, place.left_over()
        time.sleep(0.2)
