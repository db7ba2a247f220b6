"""What is told when a job comes to stand paused: the program of ON_PAUSE, started as a worker starts it."""

from __future__ import annotations

import json
import logging
import os
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pytest

from omserver_master.errors import SettingsError
from omserver_master.jobs import notice
from omserver_master.jobs.notice import Notices
from omserver_master.settings import check_on_pause, load_settings
from tests.ports import free_port

DOCS = Path(__file__).resolve().parents[2] / "docs" / "jobs.md"
ROW = {"id": 17, "module": "1003", "title": "Show; $(it)", "user": "li", "state": "running", "paused_by": ""}
ASKS = "Waits for a go-ahead after the canary."
HOSTS = {"open": 3, "ended": 1}
#: Writes down what it was started with.
SCRIPT = f"""#!{sys.executable}
import json, os, sys
seen = [json.load(sys.stdin), sys.argv, dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid()]
with open(__file__ + ".part", "a") as kept:
    kept.write(json.dumps(seen) + chr(10))
os.replace(__file__ + ".part", __file__ + "." + str(os.getpid()))
"""


def program(folder: Path, text: str = SCRIPT, name: str = "told") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o700)
    return path


def until(there: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 10
    while not (found := there()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def seen(path: Path, number: int = 1) -> list[list[Any]]:
    """What the program was started with each of *number* times."""

    wait_for_end()
    files = [file for file in path.parent.glob("told.*") if file.suffix != ".part"]
    assert len(files) == number
    return [json.loads(file.read_text()) for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]


def wait_for_end() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("pause of job"):
            thread.join(10)


def test_the_program_gets_the_job_as_json_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMSERVER_DATABASE_URL", "sqlite:///secret")
    path = program(tmp_path)
    Notices(path, ROW).stands("paused", "", ASKS, HOSTS)
    ((job, argv, environment, folder, leads),) = seen(path)
    told = {"job": 17, "module": "1003", "title": "Show; $(it)", "user": "li"}
    stand = {"state": "paused", "reason": ASKS, "paused_by": None, "hosts": HOSTS}
    assert job == told | stand
    assert argv == [str(path)]
    assert set(environment) <= {"PATH", "HOME", "LANG", "LC_CTYPE"}
    assert (folder, leads) == ("/", True)


def test_each_stop_is_told_once_by_whoever_it_comes(tmp_path: Path) -> None:
    path = program(tmp_path)
    notices = Notices(path, ROW)
    for state, who, reason in (
        ("running", "", ""),
        ("paused", "alice", "Paused by alice."),
        ("paused", "alice", "Paused by alice."),
        ("running", "", ""),
        ("paused", "", ASKS),
        ("paused", "bob", "Paused by bob."),
        ("running", "", "Stopped: bob paused it, and nobody resumed it within 24 h."),
    ):
        notices.stands(state, who, reason, HOSTS)
        wait_for_end()
    assert [(job["paused_by"], job["reason"]) for job, *_ in seen(path, 3)] == [
        ("alice", "Paused by alice."),
        (None, ASKS),
        ("bob", "Paused by bob."),
    ]


def test_who_takes_a_paused_job_up_does_not_tell_it_again(tmp_path: Path) -> None:
    path = program(tmp_path)
    taken_up = Notices(path, ROW | {"state": "paused", "paused_by": "alice"})
    taken_up.stands("paused", "alice", "Paused by alice.", HOSTS)
    taken_up.stands("running", "", "", HOSTS)
    taken_up.stands("paused", "", ASKS, HOSTS)
    assert [job["reason"] for job, *_ in seen(path)] == [ASKS]


def test_without_a_program_nobody_is_told() -> None:
    Notices(None, ROW).stands("paused", "", ASKS, HOSTS)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pause of job")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#!/bin/sh\nexit 3\n", "told ended with 3 for the pause of job 17"),
        ("#!/no/such/shell\n", "the pause of job 17 was not told"),
        ("no program at all", "the pause of job 17 was not told"),
    ],
)
def test_a_program_that_fails_is_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, says: str
) -> None:
    Notices(program(tmp_path, text), ROW).stands("paused", "", ASKS, HOSTS)
    wait_for_end()
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert says in line.getMessage()


def test_where_no_thread_can_be_started_the_job_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    Notices(program(tmp_path), ROW).stands("paused", "", ASKS, HOSTS)
    assert "the pause of job 17 was not told: can't start new thread" in caplog.text


def test_a_program_that_takes_too_long_is_killed_with_all_that_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice, "LIMIT", 0.5)
    pids = tmp_path / "pids"
    text = f"#!/bin/sh\nsleep 100 &\necho $$ $! >{pids}.part && mv {pids}.part {pids}\nwait\n"
    Notices(program(tmp_path, text), ROW).stands("paused", "", ASKS, HOSTS)
    here = [int(pid) for pid in until(lambda: pids.exists() and pids.read_text()).split()]
    wait_for_end()
    assert "took longer than 0.5 s" in caplog.text
    until(lambda: not any(alive(pid) for pid in here))


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def settings(value: str) -> Any:
    return load_settings({"OMSERVER_ON_PAUSE": value})


def test_the_setting_names_a_program_by_its_absolute_path(tmp_path: Path) -> None:
    assert settings("").on_pause is load_settings({}).on_pause is None
    check_on_pause(settings(""))
    path = program(tmp_path)
    assert settings(str(path)).on_pause == path
    check_on_pause(settings(str(path)))
    for wrong in ("told", "./told", "~/told", " "):
        with pytest.raises(SettingsError, match="ON_PAUSE must be the absolute path of a program"):
            settings(wrong)


def test_what_cannot_be_started_is_refused_before_any_job(tmp_path: Path) -> None:
    path = program(tmp_path)
    path.chmod(0o600)
    for wrong in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(SettingsError, match="which is no file that can be executed here"):
            check_on_pause(settings(str(wrong)))


ON_CELERY = {"OMSERVER_EXECUTOR": "celery", "OMSERVER_BROKER_URL": "redis://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("words", "more", "says"),
    [
        (["master"], {}, True),
        (["worker"], {}, True),
        (["celery"], ON_CELERY, True),
        (["doctor"], {}, True),
        (["master"], ON_CELERY, False),  # its workers are elsewhere
        (["worker", "--parent", "1"], {}, False),  # a master that runs goes on having workers
    ],
)
def test_whoever_carries_out_jobs_does_not_start_without_the_program(
    tmp_path: Path, words: list[str], more: dict[str, str], says: bool
) -> None:
    """Nothing is prepared here: who has not looked at the program stops at the next thing that is missing."""
    home = {"OMSERVER_HOME": str(tmp_path / "home"), "OMSERVER_RPYC_PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, "-m", "omserver_master", *words],
        env={**os.environ, **home, **more, "OMSERVER_ON_PAUSE": str(tmp_path / "none")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 1
    refusal = f"ON_PAUSE names {tmp_path / 'none'}, which is no file that can be executed here."
    assert (refusal in ended.stdout + ended.stderr) is says
    assert "Traceback" not in ended.stderr


class Mailbox(socketserver.StreamRequestHandler):
    """As much of a mail server as one mail needs."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        mail = False
        for line in self.rfile:
            if mail and line != b".\r\n":
                self.server.said.append(line.decode())  # type: ignore[attr-defined]
                continue
            mail = line.upper().startswith(b"DATA")
            self.wfile.write(b"354 go on\r\n" if mail else b"250 well\r\n")


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.said.append(said["text"])  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.mark.parametrize(
    ("handler", "address", "here"),
    [
        (Mailbox, 'SMTP("localhost")', 'SMTP("127.0.0.1", {})'),
        (Hook, "https://chat.example.com/hooks/secret", "http://127.0.0.1:{}/"),
    ],
)
def test_the_examples_of_the_documentation_tell_how_to_answer(
    tmp_path: Path, handler: Any, address: str, here: str
) -> None:
    section = DOCS.read_text(encoding="utf-8").split("### Tell somebody", 1)[1].split("\n### ", 1)[0]
    (example,) = [text for text in re.findall(r"```python\n(.*?)```", section, re.DOTALL) if address in text]
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.said = said = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        text = example.replace(address, here.format(server.server_address[1]))
        text = text.replace("#!/usr/bin/python3", f"#!{sys.executable}")
        Notices(program(tmp_path, text), ROW).stands("paused", "", ASKS, HOSTS)
        wait_for_end()
        server.shutdown()
    told = " ".join(said)
    assert f"{ASKS} To let it go on: omctl job resume 17" in told
    assert "Show; $(it)" in told
