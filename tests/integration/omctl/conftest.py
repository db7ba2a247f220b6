"""omctl against a fake master behind the real wire."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_client.omctl.app import run
from tests.integration.fake_master import PASSWORD, FakeMaster, serving
from tests.integration.omctl.terminal import Ended, Omctl


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RPYC_HOST", "KEY_FILE", "CA_FILE"):
        monkeypatch.delenv(f"OMSERVER_{name}", raising=False)
    monkeypatch.setenv("OMSERVER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def master(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMaster]:
    fake = FakeMaster()
    with serving(fake, home) as port:
        monkeypatch.setenv("OMSERVER_RPYC_PORT", str(port))
        yield fake


@pytest.fixture
def omctl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Omctl:
    def call(*words: str, stdin: str = "") -> Ended:
        read, write = os.pipe()
        os.write(write, stdin.encode())
        os.close(write)
        with open(read) as source:
            monkeypatch.setattr(sys, "stdin", source)
            code = run(words)
        return Ended(code, *capfd.readouterr())

    return call


@pytest.fixture
def logged_in(master: FakeMaster, omctl: Omctl) -> FakeMaster:
    assert omctl("login", "li", "--password-stdin", stdin=f"{PASSWORD}\n").code == 0
    return master
