"""How many refused messages reach the audit."""

from __future__ import annotations

import logging

import pytest

from omserver_master.wire import refusals
from omserver_master.wire.refusals import Refusals

Row = tuple[str, str, str]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, as a list of one that can be changed."""
    now = [1000.0]
    monkeypatch.setattr(refusals, "monotonic", lambda: now[0])
    return now


def test_each_address_has_its_share_of_the_audit_per_minute(clock: list[float]) -> None:
    rows: list[Row] = []
    counted = Refusals(lambda *row: rows.append(row), audited=3)
    for _ in range(10):
        counted.report("10.0.0.1", "", "not a sealed message")
    counted.report("10.0.0.2", "0123456789abcdef", "unknown or revoked key")
    assert [address for address, _, _ in rows] == ["10.0.0.1"] * 3 + ["10.0.0.2"]
    assert rows[2][2] == "not a sealed message; more of them in this minute are in the log only"
    clock[0] += 60
    counted.report("10.0.0.1", "", "not a sealed message")
    assert rows[-1] == ("10.0.0.1", "", "not a sealed message")
    assert len(rows) == 5


def test_every_refusal_is_in_the_log(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    counted = Refusals(lambda *row: None, audited=1)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            counted.report("10.0.0.1", "", "not a sealed message")
    assert caplog.text.count("refused a message from 10.0.0.1 (key none): not a sealed message") == 5


def test_addresses_of_past_minutes_are_forgotten(clock: list[float]) -> None:
    counted = Refusals(lambda *row: None)
    for number in range(100):
        counted.report(f"10.0.0.{number}", "", "")
    clock[0] += 60
    counted.report("10.0.0.1", "", "")
    assert len(counted._counts) == 1
