"""What `omserver master` says when it starts, and when it cannot."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import CHECKOUT, System


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "home", workers=1)
    yield system
    system.close()


def test_a_taken_port_is_one_line(system: System) -> None:
    with socket.create_server(("127.0.0.1", system.port)):
        ended = subprocess.run(
            [sys.executable, "-m", "omserver_master", "master"],
            env=system.environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert f"127.0.0.1:{system.port}" in ended.stderr


def test_the_log_of_a_start_is_ours_alone(system: System) -> None:
    system.start()
    system.stop()
    assert "alembic" not in system.log.read_text()


def test_a_taken_port_of_the_console_is_one_line_that_names_the_setting(system: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "omserver_master", "web"],
            env=system.environment | {"OMSERVER_WEB_PORT": str(port)}, cwd=CHECKOUT,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "OMSERVER_WEB_PORT" in ended.stderr
