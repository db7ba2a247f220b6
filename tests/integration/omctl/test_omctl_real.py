"""omctl against the real master: what the documentation says of it, as one would type it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from omserver_client import Client
from tests.system import CHECKOUT, System

Shell = Callable[[str], "subprocess.CompletedProcess[str]"]
WORDS = ["a b", "$(id)", "it's", "--json", "-p", "a=1", "\x1b[2J", "中文", "", "*"]


@pytest.fixture
def shell(site: System, admin: Client, tmp_path: Path) -> Shell:
    """A shell in which omctl is logged in as admin."""
    command = tmp_path / "omctl"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m omserver_client.omctl "$@"\n')
    command.chmod(0o755)
    environment = site.environment | {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)}

    def run(line: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", line], env=environment, input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    ended = run("omctl login admin --password-stdin", site.passwords["admin"] + "\n")
    assert ended.returncode == 0, ended.stderr
    return run


def test_the_line_that_the_master_prints_runs_as_it_is(admin: Client, shell: Shell) -> None:
    for module, params in (("2017", WORDS), ("2017", []), ("2001", {"word": "it's a b=c"})):
        line = admin.preview(module, params, ["alpha"])["omctl"]
        ended = shell(line)
        assert (ended.returncode, ended.stderr) == (0, ""), line
        job = admin.jobs(limit=1)["jobs"][0]
        assert (job["module"], job["params"]) == (module, params)
        shown = shell(f"omctl job show {job['id']}")
        assert (shown.returncode, shown.stderr) == (0, "")


def test_a_job_is_shown_followed_and_cancelled_by_its_number(admin: Client, shell: Shell) -> None:
    shell("omctl run 2001 --host alpha -p word=hello")
    number = admin.jobs(limit=1)["jobs"][0]["id"]
    for words in ("", " --output", " --follow", " --output --raw", " --json"):
        ended = shell(f"omctl job show {number}{words}")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "hello" in ended.stdout
    assert f"Job {number} succeeded" in shell(f"omctl job cancel {number}").stdout
    for bad in ("0", "-1", "x", "1.5", "999999999"):
        ended = shell(f"omctl job show -- {bad}")
        assert ended.returncode == 2
        assert len(ended.stderr.splitlines()) == 1


def test_a_number_of_hosts_that_is_said_must_be_right_also_where_none_is_asked_for(
    admin: Client, shell: Shell
) -> None:
    before = [job["id"] for job in admin.jobs()["jobs"]]
    ended = shell("omctl run 2001 --host alpha -p word=x --confirm 12")
    assert ended.returncode == 2
    assert "This would run on 1 host;" in ended.stderr
    assert [job["id"] for job in admin.jobs()["jobs"]] == before
    assert shell("omctl run 2001 --host alpha -p word=x --confirm 1").returncode == 0
