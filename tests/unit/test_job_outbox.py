"""What waits for a way says for which, and how many hosts wait for each."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from omserver_master.contract.work import Run
from omserver_master.jobs import outbox as outboxes
from omserver_master.jobs.board import JobHost, Seat
from omserver_master.jobs.outbox import Outbox


class DownRoads:
    """No way is up; why not is what a host's name begins with."""

    def choose(self, host: JobHost, but: Collection[int] = ()) -> Any:
        return f"{host.name.partition('-')[0]} is down."

    def backend(self, connection_id: int) -> None:
        return None

    def why_down(self, connection_id: int) -> str:
        return "down"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["sz-1"], "sz is down. 1 host waits."),
        (["bj-1", "sz-1", "sz-2"], "sz is down. 2 hosts wait. bj is down. 1 host waits."),
        (
            ["a-1", "b-1", "c-1", "d-1", "e-1"],
            "a is down. 1 host waits. b is down. 1 host waits. c is down. 1 host waits. "
            "For other ways 2 hosts wait.",
        ),
    ],
)
def test_each_way_that_is_down_is_told_with_its_own_hosts(
    names: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "LOOK_AGAIN", 0.0)
    said: list[str] = []
    outbox = Outbox(DownRoads(), said.append)
    for number, name in enumerate(names):
        outbox.put(Seat(JobHost(number, name, "", "", "")), Run("true"))
    assert outbox.take() == []
    assert outbox.take() == []
    assert said == [line], "it is told once"
