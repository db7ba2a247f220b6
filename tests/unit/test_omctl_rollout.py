"""The options of a roll-out on omctl's command line, and the line that the master writes for them."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from omserver_client.omctl.rollout import rollout_options, take_rollout
from omserver_master.contract.rollout import check_together, read_rollout
from omserver_master.jobs.freezing import words

ALL = {
    "batch": "10%",
    "canary": ["db-3", "db 4"],
    "ask": True,
    "wait": 30,
    "stop_after": "3",
    "unreachable_counts": True,
    "verify": "http://{ip}:8080/health",
    "verify_times": 3,
    "verify_within": 60,
    "expect": 204,
    "pause_limit": 600,
}


def read(line: list[str]) -> dict[str, Any] | None:
    """What omctl makes of the words."""
    found: list[dict[str, Any] | None] = []

    @click.command()
    @rollout_options
    def command(**options: Any) -> None:
        found.append(take_rollout(options))
        assert options == {}

    ended = CliRunner().invoke(command, line)
    assert ended.exit_code == 0, ended.output
    return found[0]


@pytest.mark.parametrize(
    "options", [ALL, {"batch": "2"}, {"spread": "app"}, {"spread": [["a-1", "a-2"], ["b-1", "b-2"]]}]
)
def test_the_line_that_the_master_writes_says_what_was_meant(options: dict[str, Any]) -> None:
    check_together(read_rollout(options))
    assert read(words({**options, "first": [1, 2], "groups": []})) == options


def test_nothing_said_is_no_roll_out() -> None:
    assert read([]) is None
    assert words(None) == []
