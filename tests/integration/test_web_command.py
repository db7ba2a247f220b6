"""``omserver web`` says in one line why it cannot start, before anything serves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import omserver_web
import omserver_web.__main__ as start
from omserver_web.settings import BadSetting
from tests.ports import free_port


def environment(home: Path, **told: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OMSERVER_")}
    return {
        **plain,
        "OMSERVER_HOME": str(home),
        "OMSERVER_WEB_PORT": str(free_port()),
        **{f"OMSERVER_{name}": value for name, value in told.items()},
    }


def serve(told: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "omserver_master", "web"], env=told, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"WEB_HOST": "0.0.0.0"}, "would send passwords in clear"),
        ({"WEB_STREAMS": "many"}, "OMSERVER_WEB_STREAMS must be a whole number"),
        ({"WEB_WORKERS": "²"}, "OMSERVER_WEB_WORKERS must be a whole number"),
    ],
)
def test_a_bad_setting_is_said_in_one_line(tmp_path: Path, told: dict[str, str], words: str) -> None:
    answer = serve(environment(tmp_path / "home", **told))
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert words in answer.stderr
    assert answer.stderr.startswith("Error: ")
    assert answer.stderr.count("\n") == 1


def test_a_secret_that_others_can_read_is_said_in_one_line(tmp_path: Path) -> None:
    secret = tmp_path / "web.secret"
    secret.write_text("x" * 43)
    secret.chmod(0o644)
    answer = serve(environment(tmp_path))
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert "can be read by others" in answer.stderr


def test_a_console_that_is_not_built_says_what_builds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(omserver_web, "missing", lambda: [Path("htmx.min.js")])
    monkeypatch.setattr(os, "environ", environment(tmp_path))
    monkeypatch.setattr(os, "execv", lambda *words: pytest.fail("it started"))
    with pytest.raises(SystemExit) as end:
        start.main()
    assert end.value.code == (
        "Error: The console is not built yet (htmx.min.js). Run `make frontend`, then start again."
    )


def test_a_data_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(OSError, match="home"):
        start.check(environment(tmp_path / "home"))
    with pytest.raises(BadSetting):
        start.check(environment(tmp_path, RPYC_PORT="0"))


def test_what_was_checked_is_served(tmp_path: Path) -> None:
    told = environment(tmp_path / "home", WEB_HOST="localhost")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "omserver_master", "web"], env=told, stdout=log, stderr=log
        )
    try:
        assert "Sign in" in answered(f"http://localhost:{told['OMSERVER_WEB_PORT']}/sign-in")
    finally:
        process.terminate()
        process.wait(20)


def answered(address: str) -> str:
    end = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
