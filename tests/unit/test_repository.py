"""The repository as a whole: complete where it must be, and free of one machine's paths."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import omserver_client.errors as client_errors

ROOT = Path(__file__).resolve().parents[2]
#: A registry's host, a package server's path, or a home folder: true on one machine only.
MACHINE = re.compile(
    r"registry\.npmjs|files\.pythonhosted|pypi\.org/simple|index-url|/(?:home|Users)/[a-z]+/|/root/\.|/opt/(?:pypi|wheels)"
)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository that are under version control, or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    here = Path(__file__)
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in tracked()
        if path != here and b"\0" not in path.read_bytes()[:1024] and (match := MACHINE.search(_text(path)))
    }
    # The lock's own maker has to name the options that keep registries out of the lock.
    found.pop("requirements/lock", None)
    assert found == {}


def _classes(path: Path) -> dict[str, list[str]]:
    tree = ast.parse(_text(path))
    return {
        node.name: [ast.unparse(base) for base in node.bases]
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


@pytest.mark.parametrize("package", ["omserver_client", "omserver_master"])
def test_every_error_class_is_in_the_tree_its_file_draws(package: str) -> None:
    path = ROOT / package / "errors.py"
    drawn = ast.get_docstring(ast.parse(_text(path))) or ""
    missing = [name for name in _classes(path) if not re.search(rf"\b{name}\b", drawn)]
    assert missing == []


def test_every_refusal_has_a_code_of_its_own() -> None:
    refusals = client_errors.Refused.__subclasses__()
    codes = [refusal.code for refusal in refusals]
    assert len(set(codes)) == len(codes) == len(refusals)
    assert client_errors.Refused.code not in codes


@pytest.mark.parametrize("path", tracked("*.md"), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_the_documents_lead_somewhere(path: Path) -> None:
    dead = [
        target
        for target in LINK.findall(_text(path))
        if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists()
    ]
    assert dead == []


def test_no_unfinished_work_is_marked_in_the_code() -> None:
    mark = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
    marked = [
        str(path.relative_to(ROOT))
        for path in tracked("*.py", "*.sh", "*.html", "*.js")
        if mark.search(_text(path))
    ]
    assert marked == []


@pytest.mark.parametrize(
    "script", ["Makefile", ".ci/run", "requirements/install", "requirements/lock", "tests/install"]
)
def test_scripts_are_executable_and_start_with_an_interpreter(script: str) -> None:
    path = ROOT / script
    if script != "Makefile":
        assert path.stat().st_mode & 0o111
        assert _text(path).startswith("#!")


def test_the_build_server_runs_the_command_that_the_readme_shows() -> None:
    ran = [
        line
        for line in _text(ROOT / ".ci/run").splitlines()
        if line and not line.startswith(("#", "set", "cd", "export"))
    ]
    assert ran == ["exec make test"]
    assert "make test" in _text(ROOT / "README.md")


def test_the_readme_has_no_gap_where_a_measured_time_belongs() -> None:
    assert re.findall(r"\b[A-Z]+_[A-Z]+\b", _text(ROOT / "README.md")) == []


def test_locked_packages_agree_between_the_sets() -> None:
    def pins(name: str) -> dict[str, str]:
        lines = re.findall(r"^([a-z0-9-]+)==(\S+)", _text(ROOT / "requirements" / name), re.MULTILINE)
        return dict(lines)

    whole = pins("test.txt")
    for name in ("run.txt", "build.txt"):
        assert pins(name).items() <= whole.items(), name
