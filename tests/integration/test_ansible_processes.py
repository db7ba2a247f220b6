"""The processes of the kind ansible: who is ended with a run, and that no run waits for one that is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from omserver_master.backends.ansible.folder import JobFolder
from omserver_master.backends.ansible.start import Start, Warm
from omserver_master.backends.ansible.stop import _holders, stop
from tests.ansible_rig import wait_until

ROOT = Path(__file__).resolve().parents[2]
#: A worker that asks whether a run lives, as often as it can, beside a thread that wants the processor.
WORKER = """
import sys, threading
from pathlib import Path
from omserver_master.backends.ansible.folder import JobFolder
folder = JobFolder(Path(sys.argv[1]))
def busy():
    while True:
        sum(range(1000))
threading.Thread(target=busy, daemon=True).start()
print("looks", flush=True)
while True:
    folder.runs
"""
#: A run: one process that holds the lock, and a child of it that holds it, too.
RUN = """
import os, signal, sys
from pathlib import Path
from omserver_master.backends.ansible.folder import JobFolder
JobFolder(Path(sys.argv[1])).hold()
child = os.fork()
if child:
    print(child, flush=True)
signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder.make(tmp_path / "one", {}, {})


@contextmanager
def program(text: str, folder: JobFolder) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process of ours, and the first line that it says."""
    words = [sys.executable, "-c", text, str(folder.path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().decode().strip()
        finally:
            process.kill()


def test_who_looks_whether_a_run_lives_is_never_taken_for_the_run(folder: JobFolder) -> None:
    lock = folder.path / "lock"
    with program(WORKER, folder) as (worker, _), program(RUN, folder) as (run, child):
        for _ in range(100):
            assert _holders(lock) == {run.pid, int(child)}
        assert stop(folder)
        assert run.wait(10) == -signal.SIGKILL
        assert not folder.runs
        assert worker.poll() is None


def test_a_process_that_outlives_the_one_that_took_the_lock_is_of_the_run(folder: JobFolder) -> None:
    with program(RUN, folder) as (run, child):
        run.kill()
        run.wait(10)
        assert _holders(folder.path / "lock") == {int(child)}
        assert stop(folder)
        assert not folder.runs


def deaf(warm: Warm) -> None:
    """See to it that there is a warm process, and that it reads nothing."""
    warm.warm_up()
    assert warm._process
    os.kill(warm._process.pid, signal.SIGSTOP)


def end(warm: Warm) -> None:
    assert warm._process
    warm._process.kill()
    warm._process.wait(10)


def test_a_line_that_nobody_read_is_told_again_when_another_run_has_a_new_process(tmp_path: Path) -> None:
    with closing(Warm("", tmp_path)) as warm:
        folders = [JobFolder.make(tmp_path / name, {}, {}) for name in ("unread", "next")]
        unread, following = (Start(warm, folder) for folder in folders)
        deaf(warm)
        unread.tell()
        end(warm)
        following.tell()
        assert unread.trouble() == following.trouble() == ""
        wait_until(lambda: all(folder.claimed for folder in folders))
        wait_until(lambda: not any(folder.runs for folder in folders))


def test_a_run_that_two_processes_left_unread_ends_with_a_reason(tmp_path: Path) -> None:
    with closing(Warm("", tmp_path)) as warm:
        start = Start(warm, JobFolder.make(tmp_path / "unread", {}, {}))
        deaf(warm)
        start.tell()
        end(warm)
        deaf(warm)
        assert start.trouble() == ""
        end(warm)
        assert start.trouble().startswith("Ansible could not be started.")


def test_half_a_line_is_not_lost_when_ansible_cfg_has_changed(tmp_path: Path) -> None:
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\n")
    folders = [JobFolder.make(tmp_path / name, {}, {}) for name in ("first", "second", "thïrd")]
    first, second, third = (os.fsencode(folder.path) + b"\n" for folder in folders)
    ours, theirs = socket.socketpair()
    with (
        closing(ours),
        subprocess.Popen(
            [sys.executable, "-m", "omserver_master.backends.ansible.warm"],
            stdin=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=os.environ | {"ANSIBLE_CONFIG": str(config), "LC_ALL": "C.UTF-8"},
        ) as warm,
    ):
        theirs.close()
        try:
            ours.sendall(first)
            wait_until(lambda: folders[0].claimed)
            config.write_text("[defaults]\nforks = 7\n")
            cut = third.index("ï".encode()) + 1  # within a letter
            ours.sendall(second + third[:cut])
            wait_until(lambda: folders[1].claimed)
            ours.sendall(third[cut:])
            wait_until(lambda: folders[2].claimed)
            wait_until(lambda: not any(folder.runs for folder in folders))
        finally:
            ours.close()
            warm.wait(10)
