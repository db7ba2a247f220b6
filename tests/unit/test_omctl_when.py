"""Moments as people say them to omctl; a wall clock in Berlin, on a Wednesday."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import click
import pytest

from omserver_client.omctl.when import _named, moment, past, whole_moment

WEDNESDAY = datetime(2026, 11, 25, 14, 30)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("friday", datetime(2026, 11, 28, 0, 0)),
        ("fri 18:00", datetime(2026, 11, 27, 18, 0)),
        ("friday  9:05", datetime(2026, 11, 27, 9, 5)),
        ("tue", datetime(2026, 12, 2, 0, 0)),
        ("wednesday", datetime(2026, 11, 26, 0, 0)),
        ("wed 15:00", datetime(2026, 11, 25, 15, 0)),
        ("wed 14:30", datetime(2026, 12, 2, 14, 30)),
        ("today 18:00", datetime(2026, 11, 25, 18, 0)),
        ("today 08:00", datetime(2026, 11, 25, 8, 0)),
        ("tomorrow", datetime(2026, 11, 27, 0, 0)),
        ("tomorrow 07:30", datetime(2026, 11, 26, 7, 30)),
    ],
)
def test_a_day_by_its_name(said: str, meant: datetime) -> None:
    assert _named(said, WEDNESDAY) == meant


@pytest.mark.parametrize("said", ["fr", "freitag", "someday", "+2h", "2026-11-27 18:00", "18:00", ""])
def test_what_names_no_day(said: str) -> None:
    assert _named(said, WEDNESDAY) is None


def test_a_moment_is_by_the_clock_of_this_machine_and_told_back_whole() -> None:
    assert moment("2026-11-27 18:00") == datetime.fromisoformat("2026-11-27T18:00+01:00").timestamp()
    assert whole_moment(moment("2026-11-27 18:00")) == "Friday 2026-11-27 18:00:00 CET"
    assert time.time() < moment("Friday") <= time.time() + 8 * 86_400
    assert whole_moment(moment("Fri 18:00")).startswith("Friday ")


@pytest.mark.parametrize("said", ["fri 25:00", "someday", "fri 18", "2026-13-01", "yesterday"])
def test_what_is_no_moment_is_refused_with_examples(said: str) -> None:
    with pytest.raises(click.BadParameter, match="fri 18:00"):
        moment(said)


def test_a_moment_of_the_past_is_so_long_ago_or_a_day_from_its_beginning() -> None:
    assert past("2h") == pytest.approx(time.time() - 7200, abs=5)
    assert past("2026-11-20 18:00") == datetime.fromisoformat("2026-11-20T18:00+01:00").timestamp()
    assert whole_moment(past("Yesterday"))[-12:-4] == "00:00:00"
    assert past("yesterday") < past("today") <= time.time()


@pytest.mark.parametrize("said", ["+2h", "friday", "2 h", ""])
def test_what_is_no_moment_of_the_past_is_refused_with_examples(said: str) -> None:
    with pytest.raises(click.BadParameter, match="yesterday"):
        past(said)
