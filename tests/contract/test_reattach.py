"""A worker dies, and another one finds its work again, or says that it cannot; nothing ever runs twice."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from omserver_master.backends import Backend, Target
from omserver_master.contract.work import Run, Work

from .dispatching import Under, reattach, run, wait_until
from .rig import Rig
from .test_ends import gone

CHECKOUT = Path(__file__).resolve().parents[2]


@contextmanager
def worker(rig: Rig, work: Work, hosts: Sequence[Target], seconds: float) -> Iterator[tuple[str, Any]]:
    """A process that runs *work*: its handle, and the process."""
    order = {
        "kind": rig.kind,
        "settings": dict(rig.settings),
        "work": work.to_wire(),
        "hosts": [dataclasses.astuple(host) for host in hosts],
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "tests.contract.worker"]
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            process.stdin.write(json.dumps(order).encode())
            process.stdin.close()
            yield json.loads(process.stdout.readline())["handle"], process
        finally:
            process.kill()


def ledgers(rig: Rig, hosts: Sequence[Target], path: str) -> list[int]:
    """How often each host ran what writes a line to *path*."""
    return [(rig.read(host, path) or b"").count(b"\n") for host in hosts]


def once(rig: Rig, hosts: Sequence[Target]) -> list[int]:
    """What `ledgers` gives when every host ran it exactly once."""
    return [len(hosts) if rig.one_machine else 1] * len(hosts)


def test_after_kill_9_of_the_worker_nothing_is_lost_unsaid_and_nothing_runs_twice(
    rig: Rig, backend: Backend, place: str, nap: str
) -> None:
    first, last = rig.hosts[0], rig.hosts[-1]
    both = [first, last]
    through = Run(f"echo ran >>{place}; sleep 5; echo through; exit 3", timeout=25)
    endless = Run(f"echo ran >>{place}.endless; {nap}", timeout=14)
    with worker(rig, through, both, 30) as (handle, one), worker(rig, endless, [first], 60) as (to_stop, two):
        wait_until(lambda: ledgers(rig, both, place) == once(rig, both))
        wait_until(lambda: ledgers(rig, [first], f"{place}.endless") == [1])
        one.kill()
        two.kill()
        one.wait(10)
        two.wait(10)
    with closing(rig.backend("another")) as another:
        proofs = another.cancel(to_stop, [first])
        assert proofs[first.id] in (("stopped",) if rig.survives_worker else ("unknown",))
        if proofs[first.id] == "stopped":
            assert gone(rig, nap)
        answers = reattach(another, handle, through, both)
        again = reattach(another, handle, through, both)
    if rig.survives_worker:
        assert {(answer.rc, answer.stdout) for answer in answers.values()} == {(3, b"through\n")}
        assert again == answers
    else:
        assert {answer.state for answer in answers.values()} == {"unknown"}
    # Nobody listens any more, and the host ends it nevertheless.
    wait_until(lambda: gone(rig, nap), seconds=25)
    assert ledgers(rig, both, place) == once(rig, both)
    assert ledgers(rig, [first], f"{place}.endless") == [1]


def test_what_is_over_is_found_again_or_unknown_and_does_not_run_again(
    rig: Rig, backend: Backend, place: str
) -> None:
    work = Run(f"echo ran >>{place}; echo out; echo err >&2; exit 4")
    over = Under(backend, work, rig.hosts)
    before = over.wait()
    with closing(rig.backend("another")) as another:
        answers = reattach(another, over.handle, work, rig.hosts)
    if rig.survives_worker:
        assert answers == before
    else:
        assert {answer.state for answer in answers.values()} == {"unknown"}
    assert ledgers(rig, rig.hosts, place) == once(rig, rig.hosts)


def test_what_was_never_sent_is_not_started_or_unknown_and_is_not_sent_now(
    rig: Rig, backend: Backend, place: str
) -> None:
    work = Run(f"echo ran >>{place}")
    with closing(rig.backend("another")) as another:
        answers = reattach(another, another.new_handle(), work, rig.hosts)
    assert {answer.state for answer in answers.values()} <= {"not_started", "unknown"}
    run(backend, rig.who, rig.hosts)  # what might have been sent would have been so before this
    assert ledgers(rig, rig.hosts, place) == [0] * len(rig.hosts)


def test_two_listen_to_one_dispatch_and_both_hear_it(rig: Rig, backend: Backend, place: str) -> None:
    """A worker that was thought dead and its successor; where work can be found again."""
    work = Run(f"echo ran >>{place}; sleep 2; echo through")
    slow = Under(backend, work, rig.hosts)
    wait_until(lambda: ledgers(rig, rig.hosts, place) == once(rig, rig.hosts))
    with closing(rig.backend("another")) as another:
        answers = reattach(another, slow.handle, work, rig.hosts)
    assert {answer.stdout for answer in slow.wait().values()} == {b"through\n"}
    if rig.survives_worker:
        assert {answer.stdout for answer in answers.values()} == {b"through\n"}
    assert ledgers(rig, rig.hosts, place) == once(rig, rig.hosts)
