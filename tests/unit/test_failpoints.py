"""Failpoints: off unless asked for, each in one place, and what they do where they are asked for."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from omserver_master import failpoints
from omserver_master.failpoints import PLACES, Failpoints

MASTER = Path(failpoints.__file__).parent


def ended_with(environment: str, code: str) -> int:
    """How a process ends that runs *code* under these failpoints."""
    whole = f"from omserver_master.failpoints import reach\n{code}"
    given = {"OMSERVER_FAILPOINTS": environment} if environment else {}
    return subprocess.run([sys.executable, "-c", whole], env=given, timeout=30, check=False).returncode


def test_every_place_is_in_one_line_of_code_and_every_line_is_of_a_place() -> None:
    source = "\n".join(path.read_text() for path in MASTER.rglob("*.py") if path.name != "failpoints.py")
    literal = re.findall(r'\breach\("([^"]+)"\)', source)
    # What the recorder commits names both of its places by their first half.
    recorder = (MASTER / "jobs" / "recorder.py").read_text()
    halves = sorted({name.partition(".")[0] for name in PLACES if name not in literal})
    assert {half: len(re.findall(rf'"{half}"(?! else)|"{half}" if', recorder)) for half in halves} == {
        half: 1 if half != "cancelling" else 2 for half in halves
    }
    written = {f"{half}.{when}_commit" for half in halves for when in ("before", "after")}
    assert sorted([*literal, *written]) == sorted(PLACES)


def test_nothing_happens_unless_it_is_asked_for() -> None:
    assert ended_with("", "reach('send.before')") == 0
    assert ended_with("send.before=kill", "reach('answer.heard')") == 0


def test_a_process_dies_at_the_passage_that_was_named() -> None:
    assert ended_with("send.before=kill", "reach('send.before')") == -signal.SIGKILL
    assert ended_with("send.before=kill@3", "for _ in range(2): reach('send.before')") == 0
    assert ended_with("send.before=kill@3", "for _ in range(3): reach('send.before')") == -signal.SIGKILL


def test_a_place_or_an_action_that_does_not_exist_is_refused() -> None:
    for text in ("nowhere=kill", "send.before=dance", "send.before"):
        with pytest.raises(ValueError, match="failpoint"):
            Failpoints(text)


def test_an_error_is_one_of_input_and_output() -> None:
    with pytest.raises(OSError, match="failpoint"):
        Failpoints("send.before=error").reach("send.before")


def test_a_file_in_a_folder_counts_once_and_from_the_moment_that_it_is_there(tmp_path: Path) -> None:
    points = Failpoints(str(tmp_path))
    points.reach("send.before")
    (tmp_path / "send.before").write_text("error")
    with pytest.raises(OSError, match="failpoint"):
        points.reach("send.before")
    points.reach("send.before")
    assert [path.name for path in tmp_path.iterdir()] == ["send.before.done"]
