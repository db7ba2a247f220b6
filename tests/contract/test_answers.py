"""Who answers, and what an answer holds."""

from __future__ import annotations

import pytest

from omserver_master.backends import Backend, NoInventory
from omserver_master.contract.enginework import Playbook, State
from omserver_master.contract.work import Run, Work

from .dispatching import Under, run, run_one
from .promises import NO_COMMANDS, left_out
from .rig import Rig


def test_the_connection_is_up(backend: Backend, rig: Rig) -> None:
    assert backend.probe().up, backend.probe().reason


def test_every_host_answers_once_and_for_itself(rig: Rig, backend: Backend) -> None:
    answers = run(backend, rig.who, rig.hosts)
    for host in rig.hosts:
        assert answers[host.id].stdout.strip() == rig.who_is(host)
        assert answers[host.id].ok


def test_fifty_hosts_at_once_answer_each_in_its_own_words(rig: Rig, backend: Backend) -> None:
    crowd = rig.many(50)
    assert len({host.id for host in crowd}) == 50
    answers = run(backend, rig.who, crowd, seconds=90)
    assert {host.name: answers[host.id].stdout.strip() for host in crowd} == {
        host.name: rig.who_is(host) for host in crowd
    }


def test_the_return_code_both_streams_and_the_time_come_back(rig: Rig, backend: Backend) -> None:
    answer = run_one(backend, Run("echo out; echo err >&2; sleep 1; exit 7"), rig.hosts[0])
    assert (answer.rc, answer.stdout, answer.stderr) == (7, b"out\n", b"err\n")
    assert (answer.stdout_cut, answer.stderr_cut) == (0, 0)
    assert 0.9 <= answer.seconds < 20


@pytest.mark.parametrize("rc", [0, 1, 2, 255])
def test_the_return_code_is_the_commands_own(rig: Rig, backend: Backend, rc: int) -> None:
    assert run_one(backend, Run(f"exit {rc}"), rig.hosts[0]).rc == rc


@left_out(NO_COMMANDS)
def test_what_cannot_be_run_or_is_killed_has_the_shells_return_code(rig: Rig, backend: Backend) -> None:
    dispatches = {
        127: Under(backend, Run(["no-such-program-here"]), rig.hosts[:1]),
        126: Under(backend, Run(["/etc/passwd"]), rig.hosts[:1]),
        137: Under(backend, Run("kill -KILL $$"), rig.hosts[:1]),
        143: Under(backend, Run("kill -TERM $$"), rig.hosts[:1]),
    }
    codes = {rc: dispatch.wait()[rig.hosts[0].id].rc for rc, dispatch in dispatches.items()}
    assert codes == {rc: rc for rc in dispatches}


def test_two_dispatches_at_once_are_not_mixed_up(rig: Rig, backend: Backend) -> None:
    one = Under(backend, Run("sleep 1; echo one; exit 1"), rig.hosts)
    two = Under(backend, Run("echo two; exit 2"), rig.hosts)
    assert {(answer.rc, answer.stdout) for answer in two.wait().values()} == {(2, b"two\n")}
    assert {(answer.rc, answer.stdout) for answer in one.wait().values()} == {(1, b"one\n")}


@pytest.mark.parametrize("work", [State("web"), Playbook("- hosts: all\n")])
def test_work_that_this_kind_does_not_know_is_not_started(rig: Rig, backend: Backend, work: Work) -> None:
    if isinstance(work, backend.WORKS):
        return
    answers = run(backend, work, rig.hosts)
    assert {answer.state for answer in answers.values()} == {"not_started"}
    assert all(type(work).__name__ in answer.reason for answer in answers.values())


def test_the_hosts_that_the_engine_knows_are_listed_or_it_keeps_no_list(rig: Rig, backend: Backend) -> None:
    try:
        found = backend.inventory(10)
    except NoInventory:
        return
    assert {host.remote_id or host.name for host in rig.hosts} <= {host.remote_id for host in found}
    assert all(host.name for host in found)


def test_no_hosts_are_no_work(rig: Rig, backend: Backend) -> None:
    assert run(backend, Run("exit 1"), []) == {}
