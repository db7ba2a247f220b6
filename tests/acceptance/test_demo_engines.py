"""``omserver demo --engines``: hosts of several engines at once, and one job across all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_master.commands.demo import HOSTS
from tests.acceptance.test_demo import ROOT, Place
from tests.ports import free_port

ENGINES = ("salt", "ansible", "func", "ssh")
#: Seconds that one demo may take on a machine that is busy; on an idle one it is some fifteen.
LIMIT = 170


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMSERVER_")}
    home = tmp_path / "with a space" / "home"
    own = {
        "OMSERVER_HOME": str(home),
        "OMSERVER_RPYC_PORT": str(free_port()),
        "OMSERVER_WEB_PORT": str(free_port()),
        "OMSERVER_MODULES_DIR": str(ROOT / "modules"),
    }
    # Other demos may run meanwhile, each with such a folder; this one's are here.
    with tempfile.TemporaryDirectory(prefix="om", dir="/tmp") as short:
        place = Place(home, ROOT / "modules", kept | own | {"XDG_RUNTIME_DIR": short})
        yield place
        assert place.left_over() == []
        assert os.listdir(short) == []


def answered(said: str) -> dict[str, str]:
    """The answers' states by host."""
    return {
        line.split()[1]: line.split()[0] for line in said.splitlines() if re.match(r"ok +\w+-\d\d ", line)
    }


@pytest.mark.timeout(LIMIT)
def test_one_job_is_answered_by_the_hosts_of_every_engine(place: Place) -> None:
    ended = place.omserver("demo", "--once", "--engines", ",".join(ENGINES), timeout=LIMIT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert answered(ended.stdout) == {host: "ok" for engine in ENGINES for host in HOSTS[engine]}


@pytest.mark.timeout(3 * LIMIT)
def test_an_engine_that_was_left_out_is_off_and_comes_back_with_its_hosts(place: Place) -> None:
    for engines in ("func,ssh", "ssh", "func,ssh"):
        ended = place.omserver("demo", "--once", "--engines", engines, timeout=LIMIT)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert set(answered(ended.stdout)) == {host for one in engines.split(",") for host in HOSTS[one]}


def test_what_is_no_engine_is_refused_with_those_that_there_are(place: Place) -> None:
    ended = place.omserver("demo", "--once", "--engines", "salt,puppet")
    assert ended.returncode == 2
    assert "puppet" in ended.stderr
    assert all(engine in ended.stderr for engine in ENGINES)


def test_without_an_ssh_server_it_says_what_to_install(place: Place, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    hidden = dict(place.environment) | {"PATH": str(programs)}
    script = (
        "import omserver_master.demo.sshsite as site; site.PLACES = '';"
        "from omserver_master.commands import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, "demo", "--once", "--engines", "ssh"],
        env=hidden,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "openssh-server" in ended.stderr
    assert "ENGINES" in ended.stderr
