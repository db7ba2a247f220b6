"""What a cancel proves of a run of Ansible that had hardly begun, from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from omserver_master.backends import Target
from omserver_master.backends.ansible.cancel import cancel
from omserver_master.backends.ansible.folder import JobFolder

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
