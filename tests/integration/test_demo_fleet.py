"""The demo's Salt site: it starts in seconds, anywhere, and leaves nothing behind however it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from omserver_master.backends import Target, make_backend
from omserver_master.contract.work import Run
from omserver_master.demo.fleet import Fleet, FleetError

CHECKOUT = Path(__file__).resolve().parents[2]
START = """
import sys, time
from pathlib import Path
from omserver_master.demo.fleet import Fleet
fleet = Fleet(Path(sys.argv[1]), names=("only-01",))
fleet.start()
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path too long for a socket."""
    home = tmp_path_factory.mktemp("demo") / ("long" * 30) / "home"
    home.mkdir(parents=True)
    return home


def salt_processes(home: Path) -> list[str]:
    lines = subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if str(home) in line]


def test_it_starts_answers_and_stops_and_the_second_start_is_quick(home: Path) -> None:
    said: list[str] = []
    for start in (1, 2):
        began = time.monotonic()
        with Fleet(home, names=("web-01", "db-01"), say=said.append) as fleet:
            assert time.monotonic() - began < (45 if start == 1 else 30)
            assert [host.name for host in fleet.hosts] == ["web-01", "db-01"]
            assert all(host.os and host.os_family and host.ip for host in fleet.hosts)
            backend = make_backend("salt", "demo", fleet.connection_settings)
            targets = [Target(host.name, host.name, host.remote_id) for host in fleet.hosts]
            answers = dict(backend.run(Run("id"), targets, backend.new_handle(), time.monotonic() + 20))
            backend.close()
            assert all(answer.ok for answer in answers.values())
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 5
        assert salt_processes(home) == []
    assert any("web-01 answers" in line for line in said)


def test_it_ends_with_the_process_that_started_it(home: Path) -> None:
    command = [sys.executable, "-c", START, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT) as parent:
        assert parent.stdout.readline() == b"up\n"
        assert salt_processes(home)
        parent.kill()
    deadline = time.monotonic() + 10
    while salt_processes(home):
        assert time.monotonic() < deadline, salt_processes(home)
        time.sleep(0.1)


def test_what_cannot_start_is_said_and_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "omserver_master.demo.fleet._command", lambda kind, config: ["false", str(home)]
    )
    with pytest.raises(FleetError, match="ended at once"):
        Fleet(home, names=("web-01",)).start(timeout=20)
    assert salt_processes(home) == []
