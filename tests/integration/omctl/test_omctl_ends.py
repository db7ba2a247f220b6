"""omctl when it cannot do what was asked: one line, an exit code, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omserver_client.errors import Forbidden
from omserver_client.keyfile import new_key, write_key
from omserver_client.messages import Request
from tests.integration.fake_master import FakeMaster
from tests.integration.omctl.terminal import Omctl


def test_a_master_that_is_down_is_exit_7(home: Path, omctl: Omctl, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "keys").mkdir(parents=True)
    write_key(home / "keys" / "omctl.key", new_key("omctl"))
    monkeypatch.setenv("OMSERVER_RPYC_PORT", "1")
    ended = omctl("status", "--json")
    assert ended.code == 7
    assert len(ended.err.splitlines()) == 1
    assert "127.0.0.1:1" in ended.err
    assert ended.document["error"]["code"] == "not_reached"  # type: ignore[index]


def test_a_key_that_the_master_does_not_know_is_refused(master: FakeMaster, omctl: Omctl) -> None:
    master.key = new_key("another")
    ended = omctl("status")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1


def test_without_a_key_the_missing_file_is_named(home: Path, omctl: Omctl) -> None:
    ended = omctl("status")
    assert ended.code == 2
    assert str(home / "keys" / "omctl.key") in ended.err


def test_an_unknown_module_is_two_sentences(logged_in: FakeMaster, omctl: Omctl) -> None:
    ended = omctl("modules", "9999")
    assert ended.code == 2
    assert ended.err == (
        'omctl: Module "Mid_9999" does not exist, Please add it. omctl modules lists them.\n'
    )


def test_a_refusal_is_one_line_whatever_is_in_it(logged_in: FakeMaster, omctl: Omctl) -> None:
    def refuse(request: Request) -> None:
        raise Forbidden("li may not\n\x1b[31mdo that.")

    logged_in.on_request = refuse
    assert omctl("status").err == "omctl: li may not\\n\\x1b[31mdo that.\n"


def test_another_machine_is_not_talked_to_in_clear(master: FakeMaster, omctl: Omctl, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("OMSERVER_RPYC_HOST", "192.0.2.1")
    ended = omctl("status")
    assert ended.code in (2, 7)
    assert "TLS" in ended.err


@pytest.mark.parametrize(
    "words", [["nonsense"], ["run"], ["run", "1001"], ["job", "show"], ["jobs", "--limit", "x"]]
)
def test_wrong_usage_is_one_line_and_exit_2(words: list[str], omctl: Omctl) -> None:
    ended = omctl(*words)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert "--help" in ended.err


def test_a_reader_that_goes_away_is_not_taken_for_a_failed_host(logged_in: FakeMaster) -> None:
    logged_in.host = logged_in.host | {"os": "x" * 200_000}
    command = f"'{sys.executable}' -m omserver_client.omctl hosts --json | head -c 1"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, timeout=30, check=False
    )
    assert ended.stderr == b""
    assert ended.returncode == 130


def test_without_click_the_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(\"No module named 'click'\", name='click')")
    ended = subprocess.run(
        [sys.executable, "-m", "omserver_client.omctl", "status"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "omctl needs two more packages. Run in a checkout of OMServer: pip install '.[cli]'\n"
    )
