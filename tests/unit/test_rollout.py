"""The roll-out of a job by itself: batches, when the next begins, pauses, and when it stops."""

from __future__ import annotations

from typing import Any

import pytest

from omserver_master.contract.mistakes import ModuleMistake
from omserver_master.contract.module import Module
from omserver_master.contract.rollout import RolloutMistake, check_together, loosened, number_of, read_rollout
from omserver_master.jobs.rollout import Rollout, batches

TEN = range(1, 11)


def a_rollout(hosts: Any = TEN, progress: Any = None, **options: Any) -> Rollout:
    fresh = [(host, "pending") if isinstance(host, int) else host for host in hosts]
    rollout = Rollout(options, fresh, progress, patience=100.0)
    rollout.start(None, 1000.0)
    return rollout


def end(rollout: Rollout, *hosts: int, state: str = "ok") -> None:
    for host in hosts:
        assert rollout.admits(host)
        rollout.ended(host, state)


def test_a_share_is_a_number_or_a_part_and_never_nothing() -> None:
    assert [number_of(share, 10) for share in ("3", "30%", "1%", "100%")] == [3, 3, 1, 10]
    assert number_of("10%", 15) == 1


def test_batches_keep_the_order_and_the_canary_goes_first() -> None:
    assert batches({"batch": "4"}, TEN) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert batches({"batch": "4", "first": [7, 9]}, TEN) == [[7, 9], [1, 2, 3, 4], [5, 6, 8, 10]]
    assert batches({"first": [7]}, TEN) == [[7], [1, 2, 3, 4, 5, 6, 8, 9, 10]]


def test_two_of_one_group_are_never_in_one_batch() -> None:
    assert batches({"groups": [[1, 2], [3, 4]]}, range(1, 6)) == [[1, 3, 5], [2, 4]]
    found = batches({"batch": "3", "groups": [[1, 2, 3, 4]]}, TEN)
    assert found == [[1, 5, 6], [2, 7, 8], [3, 9, 10], [4]]


@pytest.mark.parametrize("groups", [[list(range(100_000))], [[n, n + 50_000] for n in range(50_000)]])
def test_a_hundred_thousand_hosts_are_arranged_at_once(groups: list[list[int]]) -> None:
    found = batches({"batch": "10", "groups": groups}, range(100_000))
    assert sum(map(len, found)) == 100_000


def test_a_batch_begins_when_the_one_before_has_ended() -> None:
    rollout = a_rollout(batch="4")
    assert rollout.line == "Batch 2 of 3 starts when batch 1 ends."
    end(rollout, 1, 2, 3)
    assert rollout.move(1001) is None
    assert not rollout.admits(5)
    end(rollout, 4)
    assert rollout.move(1002) == "begin"
    assert list(rollout.hosts) == [5, 6, 7, 8]
    assert rollout.line == "Batch 3 of 3 starts when batch 2 ends."
    end(rollout, 5, 6, 7, 8)
    assert rollout.move(1003) == "begin"
    assert rollout.line == ""
    end(rollout, 9, 10)
    assert rollout.move(1004) is None


def test_the_wait_between_batches_is_told_as_a_time() -> None:
    rollout = a_rollout(batch="5", wait=30)
    end(rollout, 1, 2, 3, 4, 5)
    assert rollout.move(1000) == "wait"
    assert rollout.line == "Batch 2 of 2 starts at 1970-01-01 00:17:10 UTC."
    assert rollout.move(1029.9) is None
    assert rollout.move(1030) == "begin"


def test_it_asks_once_after_the_canary_and_goes_on_when_it_may() -> None:
    rollout = a_rollout(first=[3], canary=["h3"], ask=True, batch="5")
    assert rollout.line == "Batch 1 of 2 starts when the canary ends."
    end(rollout, 3)
    assert rollout.move(1000) == "ask"
    assert (rollout.state, rollout.line) == ("paused", "Waits for a go-ahead after the canary.")
    assert rollout.move(1001) is None
    assert rollout.resume(2000)
    assert rollout.move(2000) == "begin"
    end(rollout, 1, 2, 4, 5, 6)
    assert rollout.move(2001) == "begin"


def test_a_question_that_was_answered_while_no_worker_lived_is_not_asked_again() -> None:
    first = a_rollout(first=[3], canary=["h3"], ask=True)
    end(first, 3)
    assert first.move(1000) == "ask"
    rows = [(host, "ok" if host == 3 else "pending") for host in TEN]
    waiting = Rollout(first.options, rows, first.written())
    waiting.start("", 1100.0)
    assert (waiting.move(1101), waiting.state) == (None, "paused")
    answered = Rollout(first.options, rows, first.written())
    answered.start(None, 1100.0)
    assert answered.move(1101) == "begin"


def test_it_stops_after_so_many_failures_and_says_so() -> None:
    rollout = a_rollout(batch="4", stop_after="2")
    end(rollout, 1, state="unreachable")
    end(rollout, 2, state="failed")
    assert rollout.move(1000) is None
    end(rollout, 3, state="unknown")
    assert rollout.move(1000) == "stop"
    assert rollout.line == "Stopped after 2 failures (limit 2)."
    assert not rollout.admits(4)
    assert rollout.move(1001) is None
    assert Rollout(rollout.options, [(n, "pending") for n in TEN], rollout.written()).line == rollout.line


def test_unreachable_hosts_count_if_that_is_wished() -> None:
    rollout = a_rollout(batch="4", stop_after="10%", unreachable_counts=True)
    end(rollout, 1, state="unreachable")
    assert rollout.move(1000) == "stop"
    assert rollout.line == "Stopped after 1 failure (limit 1)."


@pytest.mark.parametrize(
    ("more", "move"), [({}, "stop"), ({"stop_after": "2"}, "begin"), ({"ask": True}, "ask")]
)
def test_a_canary_that_does_not_end_well_stops_the_rest_unless_something_else_was_said(
    more: dict[str, Any], move: str
) -> None:
    rollout = a_rollout(first=[3], canary=["h3"], **more)
    end(rollout, 3, state="timed_out")
    assert rollout.move(1000) == move
    if move == "stop":
        assert rollout.line == "Stopped: a canary ended timed out."


def test_a_pause_holds_what_has_not_begun_and_has_a_limit() -> None:
    rollout = a_rollout(batch="5", pause_limit=3600)
    assert rollout.pause("alice", 1000)
    assert not rollout.pause("alice", 1001)
    assert (rollout.state, rollout.line, rollout.admits(1)) == ("paused", "Paused by alice.", False)
    assert rollout.resume(2000)
    assert rollout.admits(1)
    assert rollout.start_by == 2100
    rollout.pause("bob", 3000)
    assert rollout.move(6599) is None
    assert rollout.move(6600) == "stop"
    assert rollout.line == "Stopped: bob paused it, and nobody resumed it within 1 h."
    assert rollout.state == "running"


def test_a_job_without_a_roll_out_can_be_paused_too() -> None:
    rollout = Rollout(None, ())
    assert (rollout.admits(1), rollout.move(5), rollout.line) == (True, None, "")
    rollout.pause("alice", 10)
    assert not rollout.admits(1)
    assert rollout.move(10 + 86_400) == "stop"


def test_another_worker_goes_on_with_the_batch_that_was_at_work() -> None:
    rows = [(host, "ok" if host < 6 else "dispatched" if host == 6 else "pending") for host in TEN]
    rollout = a_rollout(rows, {"batch": 1, "since": 900.0}, batch="4")
    assert rollout.admits(8)
    assert not rollout.admits(9)
    assert rollout.move(1000) is None
    end(rollout, 6, 7, 8)
    assert rollout.move(1000) == "begin"


def test_hosts_of_later_batches_that_were_never_begun_do_not_move_the_batch_on() -> None:
    rows = [(host, "not_started" if host == 10 else "pending") for host in TEN]
    rollout = a_rollout(rows, {"batch": 0}, batch="4")
    assert rollout.admits(4)
    assert not rollout.admits(5)


def test_a_job_that_was_resumed_while_no_worker_lived_has_its_time_anew() -> None:
    rows = [(host, "ok" if host < 5 else "pending") for host in TEN]
    rollout = a_rollout(rows, {"batch": 1, "since": 10.0, "paused_since": 20.0}, batch="4")
    assert (rollout.start_by, rollout.written()["paused_since"]) == (1100.0, None)


def test_a_wait_goes_on_where_the_last_worker_was() -> None:
    rows = [(host, "ok" if host < 6 else "pending") for host in TEN]
    rollout = a_rollout(rows, {"batch": 0, "over": 990.0}, batch="5", wait=30)
    assert rollout.move(1019) is None
    assert rollout.move(1020) == "begin"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"batch": "0"}, "batch"),
        ({"batch": "101%"}, "batch"),
        ({"batch": "ten"}, "batch"),
        ({"wait": -1}, "wait"),
        ({"ask": 1}, "ask"),
        ({"canary": []}, "canary"),
        ({"spread": "rack"}, "spread"),
        ({"colour": "red"}, "colour"),
        ({"verify": "http://10.0.0.1/"}, "verify"),
        ({"verify": "http://{ip}.evil.example/"}, "verify"),
        ({"verify": "http://{ip}@evil.example/"}, "verify"),
        ({"verify": "http://{ip}:80@evil.example/"}, "verify"),
        ({"verify": "http://{ip}:70000/"}, "verify"),
        ({"verify": "http://{ip}/\r\nHost: x"}, "verify"),
        ({"verify": "file:///etc/passwd"}, "verify"),
        ({"verify": "http://{ip}/{name}"}, "verify"),
        ({"verify": "tcp:0"}, "verify"),
        ({"verify_within": 0}, "verify_within"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_its_name(options: dict[str, Any], option: str) -> None:
    with pytest.raises(RolloutMistake) as mistake:
        read_rollout(options)
    assert mistake.value.option == option


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"ask": True}, "ask"),
        ({"wait": 3}, "wait"),
        ({"stop_after": "3"}, "stop_after"),
        ({"verify_times": 3}, "verify_times"),
        ({"verify": "tcp:22", "verify_times": 61}, "verify_times"),
        ({"verify": "tcp:22", "verify_within": 5, "verify_times": 6}, "verify_times"),
        ({"verify": "tcp:22", "expect": 200}, "expect"),
        ({"batch": "3", "unreachable_counts": True}, "unreachable_counts"),
    ],
)
def test_an_option_without_effect_is_refused(options: dict[str, Any], option: str) -> None:
    with pytest.raises(RolloutMistake) as mistake:
        check_together(read_rollout(options))
    assert mistake.value.option == option


@pytest.mark.parametrize(
    ("wanted", "laxer"),
    [
        ({}, ""),
        ({"batch": "5"}, ""),
        ({"batch": "11%"}, "batch"),
        ({"ask": False}, "ask"),
        ({"wait": 9}, "wait"),
        ({"wait": 11}, ""),
        ({"stop_after": "4"}, "stop_after"),
        ({"stop_after": "1%"}, ""),
        ({"verify": "tcp:22"}, "verify"),
        ({"verify_within": 61}, "verify_within"),
        ({"verify_times": 2}, ""),
        ({"canary": ["h"] * 11}, "canary"),
        ({"pause_limit": 9}, ""),
    ],
)
def test_what_is_laxer_than_the_module_says(wanted: dict[str, Any], laxer: str) -> None:
    defaults = {"batch": "10%", "ask": True, "wait": 10, "stop_after": "3", "verify": "tcp:80"}
    assert loosened(defaults, {**defaults, **wanted}, 100) == laxer


@pytest.mark.parametrize(
    "rollout",
    [{"batch": "0"}, {"canary": ["db-3"]}, {"spread": [["a", "b"]]}, {"ask": True}, ["batch"], None],
)
def test_a_module_with_a_roll_out_that_cannot_be_is_broken(rollout: Any) -> None:
    with pytest.raises(ModuleMistake, match="roll-out options"):
        type("Modulehandle", (Module,), {"rollout": rollout})
    type("Modulehandle", (Module,), {"rollout": {"batch": "10%", "spread": "app", "verify": "tcp:22"}})
