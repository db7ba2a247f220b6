"""Where CI is set, a skipped test is a failed one: the hooks of tests/no_skips.py, run by a real pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[1] / "no_skips.py"
WAYS_TO_SKIP = {
    "in_the_test": "import pytest\n\ndef test_it():\n    pytest.skip('no service')\n",
    "by_a_mark": "import pytest\n\n@pytest.mark.skipif(True, reason='no service')\ndef test_it(): pass\n",
    "in_a_fixture": (
        "import pytest\n\n@pytest.fixture\ndef service(): pytest.skip('no service')\n\n"
        "def test_it(service): pass\n"
    ),
    "whole_file": "import pytest\n\npytest.skip('no service', allow_module_level=True)\n",
    "missing_import": "import pytest\n\npytest.importorskip('no_such_service')\n\ndef test_it(): pass\n",
}


def run_pytest(folder: Path, ci: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(PLUGIN.read_text())
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *more]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        env={**os.environ, "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("way", WAYS_TO_SKIP)
def test_a_skip_fails_where_ci_is_set_and_passes_elsewhere(tmp_path: Path, way: str) -> None:
    (tmp_path / "test_it.py").write_text(WAYS_TO_SKIP[way])
    in_ci = run_pytest(tmp_path, "true")
    assert in_ci.returncode not in (0, 5), in_ci.stdout
    assert "service" in in_ci.stdout
    assert run_pytest(tmp_path, "").returncode in (0, 5)


def test_a_skip_fails_in_each_of_several_processes(tmp_path: Path) -> None:
    for way in ("in_the_test", "whole_file"):
        (tmp_path / f"test_{way}.py").write_text(WAYS_TO_SKIP[way])
    in_ci = run_pytest(tmp_path, "true", "-p", "xdist", "-n", "2")
    assert "1 failed, 1 error" in in_ci.stdout


def test_an_expected_failure_is_not_a_skip(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"
    )
    assert run_pytest(tmp_path, "true").returncode == 0
