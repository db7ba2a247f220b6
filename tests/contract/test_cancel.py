"""Cancel stops what runs on the host, and claims nothing that is not so."""

from __future__ import annotations

import time

from omserver_master.backends import Backend
from omserver_master.contract.work import Run

from .dispatching import Under, run, wait_until
from .promises import NO_COMMANDS, left_out
from .rig import Rig
from .test_ends import gone

#: The most seconds that a cancel may take.
LIMIT = 15.0


def test_cancel_stops_the_work_on_every_host_and_proves_it(rig: Rig, backend: Backend, nap: str) -> None:
    running = Under(backend, Run(f"echo begun; {nap}"), rig.hosts)
    for host in rig.hosts:
        wait_until(lambda host=host: any(nap in line for line in rig.processes(host)))
    began = time.monotonic()
    proofs = backend.cancel(running.handle, rig.hosts)
    assert time.monotonic() - began < LIMIT
    assert proofs == {host.id: "stopped" for host in rig.hosts}
    assert gone(rig, nap)
    answers = running.wait()
    assert {answer.state for answer in answers.values()} == {"unknown"}
    assert time.monotonic() - began < LIMIT + 5
    assert all(answer.ok for answer in run(backend, rig.who, rig.hosts).values())


@left_out(NO_COMMANDS)
def test_cancel_stops_what_does_not_want_to_end(rig: Rig, backend: Backend, nap: str) -> None:
    work = Run(f"trap '' TERM INT HUP; ({nap}; :) & while :; do {nap}; done", timeout=60)
    running = Under(backend, work, rig.hosts[:1])
    wait_until(lambda: any(nap in line for line in rig.processes(rig.hosts[0])))
    proofs = backend.cancel(running.handle, rig.hosts[:1])
    assert proofs[rig.hosts[0].id] in ("stopped", "unknown")
    wait_until(lambda: gone(rig, nap), seconds=5)
    assert running.wait()[rig.hosts[0].id].state == "unknown"


def test_cancel_of_one_host_leaves_the_others_and_other_work_alone(
    rig: Rig, backend: Backend, place: str
) -> None:
    first, *others = rig.hosts
    running = Under(backend, Run(f"touch {place}; sleep 5; echo through"), rig.hosts)
    other = Under(backend, Run(f"touch {place}.other; sleep 5; echo other"), [first])
    wait_until(lambda: all(rig.read(host, place) is not None for host in rig.hosts))
    wait_until(lambda: rig.read(first, f"{place}.other") is not None)
    assert backend.cancel(running.handle, [first]) == {first.id: "stopped"}
    answers = running.wait()
    assert answers[first.id].state == "unknown"
    assert {answers[host.id].stdout for host in others} == {b"through\n"}
    assert other.wait()[first.id].stdout == b"other\n"


def test_cancel_of_what_was_never_sent_claims_nothing(rig: Rig, backend: Backend) -> None:
    began = time.monotonic()
    proofs = backend.cancel(backend.new_handle(), rig.hosts)
    assert set(proofs) == {host.id for host in rig.hosts}
    assert set(proofs.values()) <= {"not_started", "unknown"}
    assert time.monotonic() - began < LIMIT


def test_cancel_of_what_is_over_claims_nothing(rig: Rig, backend: Backend) -> None:
    over = Under(backend, rig.who, rig.hosts)
    answers = over.wait()
    assert {answer.state for answer in answers.values()} == {"done"}
    proofs = backend.cancel(over.handle, rig.hosts)
    assert proofs == {host.id: "unknown" for host in rig.hosts}
