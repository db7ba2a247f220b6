"""Adding an engine is a file and a line: those in docs/backends.md keep the contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet import spaces

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "backends.md"


def blocks() -> tuple[str, str]:
    """The engine's file and its line, as they stand in the document."""
    section = PAGE.read_text(encoding="utf-8").partition("## Add an engine")[2]
    file, line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    return file, line


def test_the_engine_of_the_document_is_short() -> None:
    file, line = blocks()
    assert file.count("\n") < 40
    assert line.count("\n") == 1


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of ours with the document's file and line."""
    for part in ("omserver_client", "omserver_master", "tests/contract", "tests/fleet"):
        shutil.copytree(CHECKOUT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in [*CHECKOUT.glob("tests/*.py"), CHECKOUT / "setup.cfg", CHECKOUT / "pyproject.toml"]:
        shutil.copy(part, tmp_path / part.relative_to(CHECKOUT))
    file, line = blocks()
    engines = tmp_path / "omserver_master" / "backends"
    (engines / "exec.py").write_text(file, encoding="utf-8")
    kinds = (engines / "__init__.py").read_text(encoding="utf-8")
    assert kinds.count("_WHERE = {\n") == 1
    (engines / "__init__.py").write_text(kinds.replace("_WHERE = {\n", "_WHERE = {\n" + line))
    shutil.copy(tmp_path / "tests/contract/example/exec.py", tmp_path / "tests/contract/rigs/exec.py")
    return tmp_path


#: A module for the new kind alone is no broken one, and a module of 2014 runs on its hosts.
KNOWN = """
from omserver_master import ShellModule
from omserver_master.backends import KINDS, settings_of
from omserver_master.registry.variants import folder_for, kinds

class Modulehandle(ShellModule):
    engines = ("exec",)
    command = "true"

assert "exec" in KINDS
assert [setting.name for setting in settings_of("exec")] == ["words"]
assert "exec" in kinds(["func"])
assert folder_for(["exec"], ["saltstack", "func"]) == "saltstack"
"""


def test_the_engine_of_the_document_is_known_to_modules_too(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KNOWN], cwd=checkout, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(540)
def test_the_engine_of_the_document_keeps_the_contract(checkout: Path) -> None:
    if reason := spaces.why_not():
        pytest.skip(reason)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "120",
        "-k",
        "exec",
    ]
    done = subprocess.run(
        [*command, "tests/contract", "--ignore=tests/contract/test_example.py"],
        cwd=checkout,
        env={**os.environ, "CONTRACT_KINDS": "exec", "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 50
