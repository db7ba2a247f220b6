"""What the tests of the kind ansible share: a backend on the fleet that is reached by ssh."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from omserver_master.backends import Target, make_backend
from omserver_master.backends.ansible.backend import AnsibleBackend
from omserver_master.contract.work import Answer, Work
from tests.fleet.sshhosts import SshHosts


def basics(sshhosts: SshHosts, run_dir: Path) -> dict[str, object]:
    """The settings that every connection to the fleet needs."""
    return {
        "user": sshhosts.user,
        "private_key_file": str(sshhosts.key),
        "known_hosts": str(sshhosts.known_hosts),
        "python": "/usr/bin/python3",
        "run_dir": str(run_dir),
    }


@contextmanager
def connected(settings: Mapping[str, object]) -> Iterator[AnsibleBackend]:
    """A backend of its own."""
    made = make_backend("ansible", "test", settings)
    assert isinstance(made, AnsibleBackend)
    with closing(made):
        yield made


def answers(
    backend: AnsibleBackend, work: Work, hosts: Sequence[Target], seconds: float = 60
) -> dict[str, Answer]:
    """The answer of every host, by its id."""
    return dict(backend.run(work, hosts, backend.new_handle(), time.monotonic() + seconds))


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until *true* is.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.02)


def processes_with(word: str) -> dict[int, str]:
    """The command lines of the processes of this machine that hold *word*."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if word in line:
                found[int(entry.name)] = line
    return found
