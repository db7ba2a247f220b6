"""Hosts that answered: noted once, and again when that is old."""

from __future__ import annotations

from omserver_master.jobs.seen import GOOD_FOR, Seen


def test_a_host_is_noted_again_when_its_note_is_old() -> None:
    now = [1000.0]
    seen = Seen(lambda: now[0])
    assert seen.due([1, 2]) == [1, 2]
    seen.note([1])
    assert seen.due([1, 2]) == [2]
    now[0] += GOOD_FOR - 1
    assert seen.due([1]) == []
    now[0] += 1
    assert seen.due([1]) == [1]


def test_what_was_not_committed_is_due_still() -> None:
    seen = Seen()
    seen.due([1])
    assert seen.due([1]) == [1]
