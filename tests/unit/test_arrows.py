"""Who may import whom: web -> client <- master, and the arrows inside the master."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("omserver_client", "omserver_func", "omserver_master", "omserver_web")

#: folder or file -> what it must not import, nor anything below it
FORBIDDEN = {
    "omserver_client": ("omserver_master", "omserver_web", "config", "modules", "tests"),
    "omserver_func": ("omserver_client", "omserver_master", "omserver_web", "config", "modules", "tests"),
    "omserver_master": ("omserver_web", "config", "modules", "tests"),
    "omserver_web": ("omserver_master", "config", "modules", "tests", "sqlalchemy", "salt"),
    "omserver_master/backends": ("omserver_master.store", "omserver_master.jobs", "sqlalchemy", "sqlite3"),
    "omserver_master/dispatcher.py": ("rpyc", "cryptography", "socket", "sqlalchemy"),
    "modules": ("omserver_client", "omserver_web", "sqlalchemy", "salt"),
}

#: what a package may import besides the standard library and itself
CLIENT_NEEDS = {"rpyc", "cryptography"}
CLI_NEEDS = {"click", "rich"}


def imports_of(path: Path, package: str) -> set[str]:
    """Every module that *path* names in an import, relative ones resolved against *package*."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _resolve(node, package)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def _resolve(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def _package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def _files(part: str) -> list[Path]:
    whole = ROOT / part
    return [whole] if whole.is_file() else sorted(whole.rglob("*.py"))


def _is_below(name: str, forbidden: str) -> bool:
    return name == forbidden or name.startswith(forbidden + ".")


@pytest.mark.parametrize("part", FORBIDDEN)
def test_no_file_imports_against_the_arrows(part: str) -> None:
    against = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _files(part)
        if "node_modules" not in path.parts
        for name in imports_of(path, _package_of(path))
        for forbidden in FORBIDDEN[part]
        if _is_below(name, forbidden)
    ]
    assert against == []


def test_the_client_needs_nothing_but_rpyc_and_cryptography() -> None:
    import sys

    known = set(sys.stdlib_module_names) | CLIENT_NEEDS | {"omserver_client"}
    for path in _files("omserver_client"):
        allowed = known | CLI_NEEDS if "omctl" in path.parts else known
        tops = {name.split(".")[0] for name in imports_of(path, _package_of(path))}
        assert tops <= allowed, path


def test_func_needs_nothing_but_cryptography() -> None:
    import sys

    known = set(sys.stdlib_module_names) | {"cryptography", "omserver_func"}
    for path in _files("omserver_func"):
        tops = {name.split(".")[0] for name in imports_of(path, _package_of(path))}
        assert tops <= known, path


def test_only_the_master_touches_a_backend() -> None:
    for package in ("omserver_client", "omserver_web"):
        for path in _files(package):
            named = imports_of(path, _package_of(path))
            assert not any(_is_below(name, "omserver_master.backends") for name in named), path


def test_what_module_authors_import_is_light() -> None:
    """``import omserver_master`` happens in every child process; it must load no engine and no store."""
    import subprocess
    import sys

    heavy = ("sqlalchemy", "alembic", "salt", "rpyc", "flask", "click", "rich")
    code = f"import sys, omserver_master; print([name for name in {heavy!r} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_relative_imports_are_resolved_before_they_are_judged(tmp_path: Path) -> None:
    file = tmp_path / "salt.py"
    file.write_text("from ..store import hosts\nfrom . import base\nimport json\n")
    assert imports_of(file, "omserver_master.backends") == {
        "omserver_master.store.hosts",
        "omserver_master.backends.base",
        "json",
    }
