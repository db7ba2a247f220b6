"""What a test run or a bench has started ends with it, also when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.ending import Guard

PROGRAM = """
import subprocess, time
from tests.ending import Guard
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
guard = Guard(child.pid)
print(child.pid, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Whether the process has ended, within 10 s."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_what_is_guarded_dies_with_a_program_that_is_killed() -> None:
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    with program.stdout as said:
        child = int(said.readline())
        program.kill()
        program.wait()
    assert gone(child)


def test_a_guard_that_was_called_off_kills_nobody() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        Guard(child.pid).call_off()
        assert child.poll() is None
        os.killpg(child.pid, signal.SIGKILL)
