"""The local engine: this machine."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from omserver_master.backends import Target, make_backend
from omserver_master.backends.base import Backend
from omserver_master.contract.work import Answer, Put, Run, Script
from tests.naps import nap

HERE = [Target("7", "here")]


@pytest.fixture
def local() -> Iterator[Backend]:
    backend = make_backend("local", "here", {})
    yield backend
    backend.close()


def run(backend: Backend, work: object, seconds: float = 20) -> Answer:
    [(host, answer)] = backend.run(work, HERE, backend.new_handle(), time.monotonic() + seconds)
    assert host == "7"
    return answer


def test_it_is_up(local: Backend) -> None:
    assert local.probe().up


def test_a_command_a_script_and_a_file(local: Backend, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("local") / "file"
    assert run(local, Run(["echo", "a  b"])).stdout == b"a  b\n"
    assert run(local, Script("echo $((6*7)); exit 3")).rc == 3
    assert run(local, Put(str(path), b"content")).ok
    assert path.read_bytes() == b"content"


def test_a_command_that_hangs_is_timed_out_before_the_deadline_and_gone(local: Backend) -> None:
    began = time.monotonic()
    answer = run(local, Run(f"echo begun; {nap('4901')}"), seconds=3)
    assert (answer.state, answer.stdout) == ("timed_out", b"begun\n")
    assert time.monotonic() - began < 3.5
    assert nap("4901").encode() not in subprocess.run(["ps", "axww"], capture_output=True).stdout


def test_100_megabytes_are_counted_and_thrown_away(local: Backend) -> None:
    answer = run(local, Run("head -c 100000000 /dev/zero", output=1000))
    assert (answer.rc, len(answer.stdout), answer.stdout_cut) == (0, 1000, 99999000)


def test_cancel_stops_the_process_group_and_proves_it(local: Backend) -> None:
    ends: list[tuple[str, Answer]] = []
    handle, deadline = local.new_handle(), time.monotonic() + 60
    reader = threading.Thread(
        target=lambda: ends.extend(local.run(Run(f"{nap('4902')} & {nap('4902')}"), HERE, handle, deadline))
    )
    reader.start()
    while nap("4902").encode() not in subprocess.run(["ps", "axww"], capture_output=True).stdout:
        time.sleep(0.05)
    assert local.cancel(handle, HERE) == {"7": "stopped"}
    reader.join(5)
    assert [answer.state for _, answer in ends] == ["unknown"]
    assert nap("4902").encode() not in subprocess.run(["ps", "axww"], capture_output=True).stdout


def test_many_jobs_at_once_do_not_mix(local: Backend) -> None:
    answers: dict[int, Answer] = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.update({n: run(local, Run(["echo", str(n)]))}))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: answer.text for n, answer in answers.items()} == {n: f"{n}\n" for n in range(20)}
