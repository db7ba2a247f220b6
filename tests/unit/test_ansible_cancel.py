"""What a cancel proves of a run of Ansible that had hardly begun, from its folder alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from omserver_master.backends import Target
from omserver_master.backends.ansible.cancel import cancel
from omserver_master.backends.ansible.folder import JobFolder
from omserver_master.backends.ansible.follow import Follower
from omserver_master.backends.base import Flight
from omserver_master.contract.work import Run

HOSTS = {name: Target(f"id-{name}", name, name) for name in ("one", "two")}


def no_run(hosts: Mapping[str, Target], seconds: float) -> NoReturn:
    raise AssertionError(f"{list(hosts)} need not be asked")


def a_folder(path: Path, *records: tuple[str, Mapping[str, Any]]) -> JobFolder:
    folder = JobFolder.make(path / "0123456789abcdef", {"hosts": list(HOSTS)}, {})
    for event, more in records:
        folder.writer().append(event, **more)
    return folder


def test_a_run_that_is_not_even_written_down_whole_never_starts(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (folder.path / "job.json").unlink()
    assert cancel(folder, HOSTS, no_run) == dict.fromkeys(("id-one", "id-two"), "not_started")
    assert folder.claimed


@pytest.mark.parametrize("how", ["called_off", "refused", "cannot"])
def test_a_host_that_ansible_was_kept_from_was_sent_nothing(tmp_path: Path, how: str) -> None:
    told = ("answer", {"host": "one", "how": how, "text": ""})
    folder = a_folder(tmp_path, ("begin", {"pid": 1}), ("start", {"host": "one"}), told)
    assert folder.claim()  # the run has begun
    assert cancel(folder, HOSTS, no_run) == dict.fromkeys(("id-one", "id-two"), "not_started")


def test_of_a_host_that_has_answered_nothing_is_claimed(tmp_path: Path) -> None:
    told = ("answer", {"host": "one", "how": "said", "text": ""})
    folder = a_folder(tmp_path, ("start", {"host": "one"}), told)
    assert folder.claim()
    assert cancel(folder, HOSTS, no_run) == {"id-one": "unknown", "id-two": "not_started"}


def test_what_was_over_on_its_host_is_noted_before_the_end(tmp_path: Path) -> None:
    """The run was killed before it could note anything; of the two, only the first was over by itself."""
    folder = a_folder(tmp_path, *(("start", {"host": name}) for name in HOSTS))
    assert folder.claim()
    said = {"one": "om-here\nom1 3 0 1 2 plain 0 0 b3V0 - end\n", "two": "om-here\nom1-stopped\n"}

    def stop_run(hosts: Mapping[str, Target], seconds: float) -> JobFolder:
        assert not any(record["event"] == "end" for record in folder.reader().read())
        stopping = JobFolder.make(tmp_path / "stopping", {"hosts": list(hosts)}, {})
        for name in hosts:
            stopping.writer().append("answer", host=name, how="said", text=said[name])
        return stopping

    flight = Flight(Run("x"), list(HOSTS.values()), folder.handle, time.monotonic() + 20)
    follower = Follower(flight, HOSTS, folder, lambda: "", lambda name, python: None)
    folder.writer().append("begin", pid=1)
    folder.call_off(HOSTS)
    follower.start()
    assert flight.take(0.3) is None, "a cancelled run is over when its hosts were asked"
    assert cancel(folder, HOSTS, stop_run) == {"id-one": "unknown", "id-two": "stopped"}
    answers = dict(filter(None, (flight.take(5), flight.take(5))))
    assert (answers["id-one"].rc, answers["id-one"].stdout) == (3, b"out")
    assert answers["id-two"].state == "unknown"
