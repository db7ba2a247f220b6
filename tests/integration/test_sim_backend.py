"""The invented hosts behave as told; real engines have tests of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from omserver_master.backends import ConnectionDown, Target, make_backend
from omserver_master.backends.base import Backend
from omserver_master.contract.work import Answer, Run

CHECKOUT = Path(__file__).resolve().parents[2]
RULES = {
    "down-*": {"ending": "down"},
    "silent-*": {"ending": "silent"},
    "twice-*": {"ending": "twice"},
    "strange-*": {"ending": "stranger"},
    "bad-*": {"rc": 3, "stderr": "it broke"},
    "slow-*": {"seconds": 1.0},
    "endless-*": {"seconds": 600},
    "rubbish-*": {"ending": "rubbish"},
    "flap-*": {"ending": "flaps", "every": 0.2, "seconds": 0.1},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sim")
    files = [str(folder / "sim.socket"), json.dumps(RULES), str(folder / "ledger")]
    command = [sys.executable, "-m", "omserver_master.backends.sim.fleet", *files]
    with subprocess.Popen(command, cwd=CHECKOUT) as process:
        while not (folder / "sim.socket").exists():
            assert process.poll() is None
            time.sleep(0.05)
        yield folder
        process.kill()


@pytest.fixture
def sim(place: Path) -> Backend:
    return make_backend("sim", "sim", {"socket": str(place / "sim.socket")})


def targets(*names: str) -> list[Target]:
    return [Target(f"id-{name}", name, name) for name in names]


def test_rubbish_of_one_host_is_unknown_and_harms_no_other(sim: Backend) -> None:
    names = ("rubbish-1", "slow-1", "slow-2", "rubbish-2")
    hosts = [
        Target(id_, name, name) for id_, name in zip("5678", names, strict=True)
    ]  # rubbish calls itself 7
    stream = dict(sim.run(Run("x"), hosts, sim.new_handle(), time.monotonic() + 5))
    assert [stream[id_].state for id_ in "5678"] == ["unknown", "done", "done", "unknown"]
    assert "not understood" in stream["5"].reason


def test_a_host_that_flaps_is_there_or_gone_or_loses_its_work(sim: Backend) -> None:
    names = [f"flap-{number}" for number in range(60)]
    stream = dict(sim.run(Run("x"), targets(*names), sim.new_handle(), time.monotonic() + 1))
    assert {answer.state for answer in stream.values()} == {"done", "unreachable", "timed_out"}
    assert len(stream) == len(names)


def test_endings_are_told_apart_and_nobody_answers_for_another(sim: Backend) -> None:
    names = ("well-1", "bad-1", "down-1", "silent-1", "twice-1", "strange-1", "slow-1")
    stream = list(sim.run(Run("x"), targets(*names), sim.new_handle(), time.monotonic() + 2))
    states = {host: answer.state for host, answer in stream}
    assert len(stream) == len(names)
    assert states == {
        "id-well-1": "done",
        "id-bad-1": "done",
        "id-down-1": "unreachable",
        "id-silent-1": "timed_out",
        "id-twice-1": "done",
        "id-strange-1": "done",
        "id-slow-1": "done",
    }
    assert dict(stream)["id-bad-1"].rc == 3
    assert dict(stream)["id-twice-1"].rc == 0


def test_two_thousand_hosts_answer_once_each(sim: Backend) -> None:
    names = [f"many-{number}" for number in range(2000)]
    stream = list(sim.run(Run("x"), targets(*names), sim.new_handle(), time.monotonic() + 30))
    assert len(stream) == len(dict(stream)) == 2000
    assert all(answer.ok for _, answer in stream)


def test_work_is_found_again_and_the_ledger_shows_that_it_ran_once(sim: Backend, place: Path) -> None:
    handle = sim.new_handle()
    abandoned = sim.run(Run("x"), targets("slow-7", "fast-7"), handle, time.monotonic() + 10)
    next(abandoned)
    abandoned.close()
    answers = dict(sim.reattach(handle, Run("x"), targets("slow-7", "fast-7", "new-7"), time.monotonic() + 5))
    assert {name: answer.state for name, answer in answers.items()} == {
        "id-slow-7": "done",
        "id-fast-7": "done",
        "id-new-7": "not_started",
    }
    assert (place / "ledger").read_text().count(handle) == 2


def test_cancel_says_what_it_stopped(sim: Backend) -> None:
    handle, hosts = sim.new_handle(), targets("endless-1", "down-2")
    ends: dict[str, Answer] = {}
    deadline = time.monotonic() + 20
    reader = threading.Thread(target=lambda: ends.update(sim.run(Run("x"), hosts, handle, deadline)))
    reader.start()
    time.sleep(0.3)
    assert sim.cancel(handle, hosts) == {"id-endless-1": "stopped", "id-down-2": "not_started"}
    reader.join(5)
    assert {answer.state for answer in ends.values()} == {"unknown", "not_started"}


def test_a_process_that_is_gone_is_a_connection_that_is_down() -> None:
    backend = make_backend("sim", "sim", {"socket": "/nonexistent/socket"})
    assert not backend.probe().up
    with pytest.raises(ConnectionDown):
        list(backend.run(Run("x"), targets("a"), "h", time.monotonic() + 1))
