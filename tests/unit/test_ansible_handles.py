"""Who may say of a run of Ansible that it was never sent: workers of the machine that would have sent it."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from omserver_master.backends import Target
from omserver_master.backends.ansible.backend import AnsibleBackend
from omserver_master.contract.work import Run

HOST = Target("1", "web-01", "web-01", "192.0.2.1")


def told(backend: AnsibleBackend, handle: str) -> tuple[str, str]:
    """How the host of *handle* stands, and what a cancel proves."""
    ((_, answer),) = backend.reattach(handle, Run("true"), [HOST], time.monotonic() + 5)
    return answer.state, backend.cancel(handle, [HOST])["1"]


def test_only_the_machine_that_would_have_sent_it_says_that_it_was_never_sent(tmp_path: Path) -> None:
    """Another worker of this machine knows; one of another machine, with a folder of its own, does not."""
    here, elsewhere = ({"run_dir": str(tmp_path / place)} for place in ("here", "elsewhere"))
    with (
        closing(AnsibleBackend("dc1", elsewhere)) as far,
        closing(AnsibleBackend("dc1", here)) as one,
        closing(AnsibleBackend("dc1", here)) as beside,
    ):
        far.new_handle()  # it has worked before, and has a folder
        handle = one.new_handle()
        assert told(beside, handle) == ("not_started", "not_started")
        assert told(far, handle) == ("unknown", "unknown")
        assert told(far, far.new_handle()) == ("not_started", "not_started")
