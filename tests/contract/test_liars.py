"""One host cannot speak for another."""

from __future__ import annotations

from omserver_master.backends import Backend
from omserver_master.contract.work import Run

from .dispatching import Under, reattach, wait_until
from .promises import NO_LIAR, left_out
from .rig import Rig


@left_out(NO_LIAR)
def test_a_host_that_speaks_for_another_changes_nothing_of_its_answer(
    rig: Rig, backend: Backend, place: str
) -> None:
    liar, victim = rig.hosts[0], rig.hosts[1]
    work = Run(f"touch {place}; sleep 4; echo my own words; exit 5")
    with rig.lie(liar, victim) as told:
        alone = Under(backend, work, [victim])
        running = Under(backend, work, [liar, victim])
        wait_until(lambda: told() > 0)
        answers = running.wait()
        without = alone.wait()[victim.id]
    for host in (liar, victim):
        assert (answers[host.id].rc, answers[host.id].stdout) == (5, b"my own words\n"), answers[host.id]
    assert (without.rc, without.stdout) == (5, b"my own words\n")
    if rig.survives_worker:
        # What an engine keeps may be spoiled by the lie, never forged: then nobody knows any more.
        kept = reattach(backend, running.handle, work, [liar, victim])
        assert kept[liar.id] == answers[liar.id]
        assert kept[victim.id] == answers[victim.id] or kept[victim.id].state == "unknown"
