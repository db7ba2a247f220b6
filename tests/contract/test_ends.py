"""The ways in which it does not go well are told apart, and told in time."""

from __future__ import annotations

import threading
import time

import pytest

from omserver_master.backends import Backend, ConnectionDown, NoInventory
from omserver_master.contract.work import Run

from .dispatching import Under, run, run_one, wait_until
from .promises import NO_COMMANDS, NO_CONTROL, NO_HOST_DIES, left_out
from .rig import Rig


def gone(rig: Rig, nap: str) -> bool:
    """Whether no host of *rig* runs *nap*, looked at past the engine."""
    return not any(nap in line for host in rig.hosts for line in rig.processes(host))


def test_what_hangs_is_timed_out_with_its_words_so_far_and_gone(rig: Rig, backend: Backend, nap: str) -> None:
    """Whether its own time was over or ours; both at once."""
    by_deadline = Under(backend, Run(f"echo begun; {nap}0"), rig.hosts, seconds=6)
    began = time.monotonic()
    answers = run(backend, Run(f"echo begun; {nap}1", timeout=2), rig.hosts)
    assert {(answer.state, answer.stdout) for answer in answers.values()} == {("timed_out", b"begun\n")}
    assert time.monotonic() - began < 20
    assert gone(rig, f"{nap}1")
    assert {answer.state for answer in by_deadline.wait().values()} == {"timed_out"}
    wait_until(lambda: gone(rig, nap))


@left_out(NO_COMMANDS)
def test_what_stays_is_ended_and_keeps_nobody_waiting(rig: Rig, backend: Backend, nap: str) -> None:
    """What ignores the signal, its children, and who goes on in the background with our pipes in hand."""
    host = rig.hosts[0]
    work = Run(f"trap '' TERM; ({nap}; :) & while :; do {nap}; done", timeout=1)
    stubborn = Under(backend, work, [host])
    began = time.monotonic()
    answer = run_one(backend, Run("echo said; sleep 20 &"), host)
    assert (answer.rc, answer.stdout) == (0, b"said\n")
    assert time.monotonic() - began < 12
    assert stubborn.wait()[host.id].state == "timed_out"
    wait_until(lambda: gone(rig, nap), seconds=10)


@left_out(NO_HOST_DIES)
def test_a_host_that_dies_or_is_off_is_told_apart_and_harms_no_other(
    rig: Rig, backend: Backend, place: str
) -> None:
    alive, dead = rig.hosts[0], rig.hosts[-1]
    work = Run(f"touch {place}; sleep 5; echo through")
    # One of them is over when the time is; the other died while it was at work.
    dying = Under(backend, work, [alive, dead], seconds=14)
    wait_until(lambda: rig.read(dead, place) is not None)
    rig.stop_host(dead)
    try:
        off = Under(backend, Run(f"touch {place}.never; echo on"), [alive, dead], seconds=rig.patience + 5)
        answers = dying.wait()
        assert (answers[alive.id].rc, answers[alive.id].stdout) == (0, b"through\n")
        assert answers[dead.id].state in ("unreachable", "timed_out", "unknown"), answers[dead.id]
        answers = off.wait()
        assert (answers[alive.id].rc, answers[alive.id].stdout) == (0, b"on\n")
        assert answers[dead.id].state == "unreachable", answers[dead.id]
    finally:
        rig.start_host(dead)
    assert run_one(backend, rig.who, dead).stdout.strip() == rig.who_is(dead)
    assert rig.read(dead, f"{place}.never") is None


@left_out(NO_CONTROL)
def test_a_control_point_that_is_down_gets_nothing_sent_and_leaves_nobody_waiting(
    rig: Rig, backend: Backend, place: str, nap: str
) -> None:
    began = f"{place}.began"
    running = Under(backend, Run(f"touch {began}; {nap}"), rig.hosts, seconds=10)
    wait_until(lambda: all(rig.read(host, began) is not None for host in rig.hosts))
    rig.stop_control()
    try:
        asked = time.monotonic()
        reachability = backend.probe()
        assert time.monotonic() - asked < 4
        assert not reachability.up
        assert reachability.reason
        with pytest.raises(ConnectionDown):
            run(backend, Run(f"touch {place}.never"), rig.hosts)
        with pytest.raises((ConnectionDown, NoInventory)):
            backend.inventory(3)
        answers = running.wait()
        assert {answer.state for answer in answers.values()} <= {"timed_out", "unknown", "unreachable"}
    finally:
        rig.start_control()
    assert backend.probe().up
    answers = run(backend, rig.who, rig.hosts)
    assert {host.name: answers[host.id].stdout.strip() for host in rig.hosts} == {
        host.name: rig.who_is(host) for host in rig.hosts
    }
    assert [rig.read(host, f"{place}.never") for host in rig.hosts] == [None] * len(rig.hosts)
    wait_until(lambda: gone(rig, nap))


def test_nobody_who_listens_no_more_keeps_a_thread_busy(rig: Rig, backend: Backend) -> None:
    run(backend, rig.who, rig.hosts)
    before = threading.active_count()
    for _ in range(8):
        stream = backend.run(rig.who, rig.hosts, backend.new_handle(), time.monotonic() + 20)
        next(stream)
        stream.close()
    wait_until(lambda: threading.active_count() <= before + 3)
