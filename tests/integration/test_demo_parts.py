"""The parts of the demo that need no Salt: its own folder and ports, and processes that do not outlive it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from omserver_master.backends import FoundHost
from omserver_master.demo.children import start
from omserver_master.demo.furnish import ensure_hosts
from omserver_master.demo.place import check_ports, own_folder
from omserver_master.demo.site import SiteHost
from omserver_master.errors import SettingsError
from omserver_master.roster.applying import load_world
from omserver_master.roster.incoming import from_engine
from omserver_master.roster.plan import Options, make_plan
from omserver_master.settings import Settings, load_settings, open_home
from omserver_master.store.engine import make_engine, read
from omserver_master.store.schema_version import upgrade
from tests.ports import free_port

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load_settings({"OMSERVER_HOME": str(tmp_path / "home")})
    open_home(made)
    return made


def wait_until(true: object, seconds: float = 10.0) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_import_finds_nothing_to_change_in_a_demos_hosts(settings: Settings) -> None:
    engine = make_engine(settings.database_url)
    upgrade(engine)
    host = SiteHost("web-01", "web-01", "10.0.0.1", "Debian 12", "Debian", "12")
    site = SimpleNamespace(kind="sim", hosts=[host], connection_settings={})
    ensure_hosts(engine, [site])  # type: ignore[list-item]
    facts = {"os": "Debian", "os_family": "Debian", "osrelease": "12"}
    imported = from_engine("demo-sim", [FoundHost("web-01", "web-01", "10.0.0.1", facts)])
    with read(engine) as conn:
        plan = make_plan(imported, load_world(conn), Options(), "demo-sim")
    assert [(row.status, row.changes) for row in plan.rows] == [("same", ())]


def test_a_second_demo_on_the_same_folder_is_refused(settings: Settings) -> None:
    with (
        own_folder(settings.home),
        pytest.raises(SettingsError, match="OMSERVER_HOME"),
        own_folder(settings.home),
    ):
        pass
    with own_folder(settings.home):
        pass


@pytest.mark.parametrize("name", ["rpyc_port", "web_port"])
def test_a_taken_port_is_named_with_its_setting(settings: Settings, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = replace(settings, **{"rpyc_port": free_port(), "web_port": free_port(), name: port})
        with pytest.raises(SettingsError, match=rf"127\.0\.0\.1:{port} .*OMSERVER_{name.upper()}"):
            check_ports(settings)
    check_ports(settings)


def test_a_child_that_ignores_the_polite_signal_is_ended_with_all_it_started(tmp_path: Path) -> None:
    child = start("stubborn", [sys.executable, "-c", STUBBORN], tmp_path / "log")
    wait_until(lambda: "ready" in child.last_words())
    family = [psutil.Process(child.process.pid), *psutil.Process(child.process.pid).children()]
    assert len(family) == 2
    child.stop(0.2)
    assert not child.alive
    wait_until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))


def test_a_child_ends_when_the_demo_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from omserver_master.demo.children import start\n"
        f"child = start('sleeper', ['sleep', '60'], Path({str(tmp_path / 'log')!r}))\n"
        "print(child.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        pid = int(demo.stdout.readline())
        os.kill(demo.pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_the_last_words_of_a_child_are_the_end_of_its_log(tmp_path: Path) -> None:
    child = start("talker", ["sh", "-c", "seq 1 2000; echo port is taken >&2; exit 3"], tmp_path / "log")
    assert child.process.wait(10) == 3
    assert not child.alive
    assert child.last_words(2) == "2000\nport is taken"
    child.stop(0.1)
