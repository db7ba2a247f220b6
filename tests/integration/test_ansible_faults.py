"""The kind ansible when something breaks, or a host lies: each host has a true answer by the deadline."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_master.backends import Target
from omserver_master.backends.ansible.backend import AnsibleBackend
from omserver_master.backends.ansible.folder import JobFolder
from omserver_master.backends.ansible.host import host_handle
from omserver_master.backends.ansible.stop import _holders
from omserver_master.contract.work import Playbook, Run
from tests.ansible_rig import answers, basics, connected, processes_with, wait_until
from tests.contract.dispatching import Under, reattach
from tests.contract.rigs.ansible import forgeries
from tests.fleet.sshhosts import SshHosts

ROOT = Path(__file__).resolve().parents[2]
NAP = "sleep 4242"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def backend(sshhosts: SshHosts, run_dir: Path) -> Iterator[AnsibleBackend]:
    with connected(basics(sshhosts, run_dir)) as made:
        yield made


@pytest.fixture
def two(sshhosts: SshHosts) -> list[Target]:
    return sshhosts.targets("py-01", "py-02")


@pytest.fixture(autouse=True)
def nothing_left(sshhosts: SshHosts) -> Iterator[None]:
    yield
    for name in ("py-01", "py-02", "bare-01"):
        sshhosts.exec(name, ["pkill", "-KILL", "-f", NAP])


def folder_of(run_dir: Path, handle: str) -> JobFolder:
    return JobFolder(run_dir / "jobs" / handle)


def events(folder: JobFolder) -> list[dict[str, object]]:
    try:
        return folder.reader().read()
    except FileNotFoundError:
        return []


def begun(folder: JobFolder) -> int:
    """The process that leads the run, once Ansible has begun to speak to a host; 0 before."""
    found = events(folder)
    if not any(record["event"] == "start" for record in found):
        return 0
    return next(int(str(record["pid"])) for record in found if record["event"] == "begin")


def children(process: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[1]) == process:
                found.append(int(entry.name))
    return found


def runs_on(sshhosts: SshHosts, name: str, word: str) -> bool:
    return any(word in line for line in sshhosts.processes(name))


def test_when_the_runner_is_killed_ansible_goes_on_and_its_results_arrive(
    backend: AnsibleBackend, run_dir: Path, two: list[Target]
) -> None:
    running = Under(backend, Run("sleep 2; echo through"), two)
    folder = folder_of(run_dir, running.handle)
    wait_until(lambda: begun(folder))
    os.kill(begun(folder), signal.SIGKILL)
    assert {answer.stdout for answer in running.wait().values()} == {b"through\n"}


def test_when_ansible_itself_is_killed_its_hosts_are_unknown_at_once(
    backend: AnsibleBackend, run_dir: Path, sshhosts: SshHosts, two: list[Target]
) -> None:
    running = Under(backend, Run(NAP), two, seconds=60)
    folder = folder_of(run_dir, running.handle)
    wait_until(lambda: all(runs_on(sshhosts, host.name, NAP) for host in two))
    began = time.monotonic()
    for ansible in children(begun(folder)):
        os.kill(ansible, signal.SIGKILL)
    assert {answer.state for answer in running.wait().values()} == {"unknown"}
    assert time.monotonic() - began < 30


def test_work_that_ends_by_itself_while_it_is_cancelled_has_its_answer(
    backend: AnsibleBackend, run_dir: Path, sshhosts: SshHosts, two: list[Target]
) -> None:
    said = "/tmp/cancelled-" + uuid.uuid4().hex
    work = Run(f"while [ ! -e {said} ]; do sleep 0.1; done; rm {said}; seq 1 9000; exit 3")
    running = Under(backend, work, two, seconds=60)
    folder = folder_of(run_dir, running.handle)
    wait_until(lambda: all(runs_on(sshhosts, host.name, said) for host in two))
    # Ansible is deaf while py-01 comes to its end; py-02 is still at work.
    for process in _holders(folder.path / "lock"):
        os.kill(process, signal.SIGSTOP)
    sshhosts.exec("py-01", ["touch", said], check=True)
    done = f"/tmp/omserver-root/{host_handle(running.handle, 'py-01')}/done"
    wait_until(lambda: sshhosts.exec("py-01", ["test", "-e", done]).returncode == 0)
    proofs = backend.cancel(running.handle, two)
    assert proofs == {two[0].id: "unknown", two[1].id: "stopped"}
    found = running.wait()
    words = "".join(f"{number}\n" for number in range(1, 9001)).encode()
    assert (found[two[0].id].rc, found[two[0].id].stdout) == (3, words)
    assert found[two[1].id].state == "unknown"
    assert [record["event"] for record in events(folder)][-1] == "end"
    assert reattach(backend, running.handle, work, two)[two[0].id] == found[two[0].id]


def test_when_the_fork_of_a_host_is_killed_no_host_is_left_without_an_answer(
    backend: AnsibleBackend, run_dir: Path, sshhosts: SshHosts, two: list[Target]
) -> None:
    running = Under(backend, Run(NAP), two, seconds=20)
    wait_until(lambda: all(runs_on(sshhosts, host.name, NAP) for host in two))
    folder = folder_of(run_dir, running.handle)
    ansible = children(begun(folder))[0]
    os.kill(children(ansible)[0], signal.SIGKILL)
    assert {answer.state for answer in running.wait().values()} <= {"unknown", "timed_out"}


def test_when_the_warm_process_is_killed_what_runs_goes_on_and_another_is_started(
    backend: AnsibleBackend, sshhosts: SshHosts, two: list[Target]
) -> None:
    before = set(processes_with("ansible.warm"))
    running = Under(backend, Run("sleep 2; echo through"), two)
    wait_until(lambda: runs_on(sshhosts, "py-01", "sleep 2"))
    for process in set(processes_with("ansible.warm")) - before:
        if os.getsid(process) == process and process in children(os.getpid()):
            os.kill(process, signal.SIGKILL)
    assert {answer.stdout for answer in running.wait().values()} == {b"through\n"}
    assert all(answer.ok for answer in answers(backend, Run("true"), two).values())


def test_after_kill_9_of_the_worker_its_runs_go_on_and_its_warm_process_does_not(
    sshhosts: SshHosts, run_dir: Path, two: list[Target]
) -> None:
    work = Run("sleep 3; echo through")
    order = {
        "kind": "ansible",
        "settings": basics(sshhosts, run_dir),
        "work": work.to_wire(),
        "hosts": [dataclasses.astuple(host) for host in two],
        "seconds": 40,
    }
    words = [sys.executable, "-m", "tests.contract.worker"]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin
        assert worker.stdout
        worker.stdin.write(json.dumps(order).encode())
        worker.stdin.close()
        handle = json.loads(worker.stdout.readline())["handle"]
        wait_until(lambda: begun(folder_of(run_dir, handle)))
        warm = children(worker.pid)
        assert warm
        worker.kill()
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in warm))
    with connected(basics(sshhosts, run_dir)) as another:
        said = reattach(another, handle, work, two)
    assert {answer.stdout for answer in said.values()} == {b"through\n"}


def test_when_the_folder_of_a_run_is_removed_its_hosts_are_unknown(
    backend: AnsibleBackend, run_dir: Path, two: list[Target]
) -> None:
    running = Under(backend, Run("sleep 3"), two, seconds=40)
    folder = folder_of(run_dir, running.handle)
    wait_until(lambda: begun(folder))
    shutil.rmtree(folder.path)
    said = running.wait()
    assert {answer.state for answer in said.values()} == {"unknown"}
    assert "gone" in said["py-01"].reason
    again = reattach(backend, running.handle, Run("sleep 3"), two)
    assert {answer.state for answer in again.values()} == {"unknown"}


def test_when_results_cannot_be_written_the_run_ends_and_the_hosts_are_unknown(
    backend: AnsibleBackend, two: list[Target]
) -> None:
    assert all(answer.ok for answer in answers(backend, Run("true"), two).values())
    # As on a disk that is full: no file of the warm process and its forks may grow beyond this.
    for process in children(os.getpid()):
        if "ansible.warm" in processes_with("ansible.warm").get(process, ""):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (20_000, 20_000))
    began = time.monotonic()
    said = answers(backend, Run("head -c 100000 /dev/urandom"), two, seconds=60)
    assert {answer.state for answer in said.values()} == {"unknown"}
    assert time.monotonic() - began < 40


def test_results_that_were_tampered_with_are_not_believed(
    backend: AnsibleBackend, run_dir: Path, two: list[Target]
) -> None:
    handle = backend.new_handle()
    before = dict(backend.run(Run("echo honest"), two, handle, time.monotonic() + 60))
    assert {answer.stdout for answer in before.values()} == {b"honest\n"}
    spool = folder_of(run_dir, handle).path / "spool"
    spool.write_bytes(spool.read_bytes().replace(b"om1 0 0", b"om1 9 0"))
    again = reattach(backend, handle, Run("echo honest"), two)
    assert "unknown" in {answer.state for answer in again.values()}
    assert {answer.rc for answer in again.values()} <= {0, None}


def test_a_host_that_hangs_before_it_says_a_word_ends_by_the_deadline(backend: AnsibleBackend) -> None:
    nowhere = [Target("x", "x", "x", "203.0.113.9")]
    began = time.monotonic()
    said = answers(backend, Run("true"), nowhere, seconds=6)
    assert time.monotonic() - began < 8
    assert said["x"].state in ("unreachable", "timed_out", "unknown")


@pytest.mark.parametrize("work", ["run", "raw", "command"])
def test_a_host_that_prints_what_looks_like_results_changes_nothing(
    sshhosts: SshHosts, run_dir: Path, tmp_path: Path, two: list[Target], work: str
) -> None:
    """With ansible.cfg as talkative as -vvv, where Ansible itself prints what the host says."""
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\nverbosity = 3\nstdout_callback = minimal\n")
    lies = "\n".join(forgeries("py-02"))
    says = f"[ $(hostname) = py-02 ] && echo honest || cat <<'END'\n{lies}\nEND"
    works = {
        "run": Run(says),
        "raw": Playbook(
            "- hosts: all\n  gather_facts: false\n  tasks:\n    - raw: '{{ says }}'\n      name: x\n"
        ),
        "command": Playbook(
            "- hosts: all\n  gather_facts: false\n  tasks:\n"
            "    - shell: '{{ says }}'\n      name: x\n    - debug: {msg: '{{ says }}'}\n"
        ),
    }
    if work != "run":
        assert isinstance(works[work], Playbook)
        works[work] = Playbook(works[work].text, extra_vars={"says": says})
    with connected(basics(sshhosts, run_dir) | {"config": str(config)}) as backend:
        handle = backend.new_handle()
        said = dict(backend.run(works[work], two, handle, time.monotonic() + 60))
    honest, liar = said["py-02"], said["py-01"]
    assert (honest.state, honest.rc) == ("done", 0)
    assert (liar.state, liar.rc) == ("done", 0)
    if work == "run":
        assert honest.stdout == b"honest\n"
        assert liar.text.strip() == lies.strip()
    artifacts = folder_of(run_dir, handle).path / "artifacts" / handle
    assert list((artifacts / "job_events").iterdir()) == []


def test_a_host_that_never_stops_talking_does_not_take_the_masters_memory(
    backend: AnsibleBackend, sshhosts: SshHosts, two: list[Target]
) -> None:
    sshhosts.exec("py-01", ["sh", "-c", "echo 'yes FORGED' >~root/.bashrc"], check=True)
    try:
        said = answers(backend, Run("echo honest", timeout=8), two, seconds=60)
    finally:
        sshhosts.exec("py-01", ["sh", "-c", "rm -f ~root/.bashrc; pkill yes"])
    assert said["py-01"].state in ("unknown", "timed_out", "not_started")
    assert said["py-02"].stdout == b"honest\n"


def test_what_has_not_begun_by_the_deadline_never_begins(
    backend: AnsibleBackend, run_dir: Path, sshhosts: SshHosts, two: list[Target]
) -> None:
    """The warm process stands still, as on a machine that has too much to do."""
    assert all(answer.ok for answer in answers(backend, Run("true"), two).values())
    (warm,) = [process for process in children(os.getpid()) if process in processes_with("ansible.warm")]
    os.kill(warm, signal.SIGSTOP)
    try:
        handle = backend.new_handle()
        said = dict(backend.run(Run("touch /tmp/om-late"), two, handle, time.monotonic() + 3))
    finally:
        os.kill(warm, signal.SIGCONT)
    assert {answer.state for answer in said.values()} == {"not_started"}
    assert all(answer.ok for answer in answers(backend, Run("true"), two).values())
    assert events(folder_of(run_dir, handle)) == []
    assert sshhosts.exec("py-01", ["test", "-e", "/tmp/om-late"]).returncode == 1
