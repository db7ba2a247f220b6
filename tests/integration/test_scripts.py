"""The shell scripts of the repository: clean for shellcheck, and clear about what is missing on a machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shell_scripts() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    files = [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    return [file for file in files if file.suffix == ".sh" or _first_line(file).endswith(("sh", "bash"))]


def _first_line(file: Path) -> str:
    with file.open("rb") as opened:
        line = opened.readline(100)
    return line.decode("utf-8", "replace").strip() if line.startswith(b"#!") else ""


@pytest.mark.parametrize("script", shell_scripts(), ids=lambda script: str(script.relative_to(ROOT)))
def test_a_shell_script_is_clean_for_shellcheck(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    # A text that is handed to a shell has no first line of its own; it must fit any POSIX shell.
    shell = [] if _first_line(script) else ["--shell=sh"]
    checked = subprocess.run(
        ["shellcheck", *shell, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout on a machine that has the usual tools, but no Python; its ``bin`` is its whole PATH."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "cat", "dirname", "rm", "sha256sum", "pwd", "grep", "touch"):
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    shutil.copytree(ROOT / "requirements", tmp_path / "a checkout" / "requirements")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / "a checkout" / name)
    return tmp_path


def install(machine: Path) -> subprocess.CompletedProcess[str]:
    script = machine / "a checkout" / "requirements" / "install"
    return subprocess.run(
        [str(script), "run"],
        env={"PATH": str(machine / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def put_python(machine: Path, body: str) -> None:
    fake = machine / "bin" / "python3"
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)


def test_without_any_python_the_message_says_what_to_install(machine: Path) -> None:
    ended = install(machine)
    assert ended.returncode == 1
    assert "Python 3.11 or newer is needed" in ended.stderr
    assert "apt install python3" in ended.stderr


def test_a_python_that_is_too_old_is_not_used(machine: Path) -> None:
    put_python(machine, "exit 1  # as if sys.version_info were smaller")
    assert "Python 3.11 or newer is needed" in install(machine).stderr


def test_a_python_without_venv_is_named_with_its_package(machine: Path) -> None:
    put_python(machine, 'case "$*" in *ensurepip*) exit 1 ;; esac')
    ended = install(machine)
    assert ended.returncode == 1
    assert "python3-venv" in ended.stderr
    assert not os.path.exists(machine / "a checkout" / ".venv")
