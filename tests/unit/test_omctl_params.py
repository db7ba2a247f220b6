"""Parameters on omctl's command line: what is typed, what the master prints, and what a job shows."""

from __future__ import annotations

import shlex
from types import SimpleNamespace
from typing import Any

import click
import pytest

from omserver_client.omctl.params import param_words, read_params
from omserver_client.omctl.run_module import run
from omserver_master.jobs.submission import Plan
from tests.nasty import NASTY_WORDS

NASTY = [word for word in NASTY_WORDS if word]


def test_a_parameter_given_twice_is_a_list_and_keeps_its_equals_signs() -> None:
    assert read_params(["a=1", "b=x=y", "a=2", "a=", "c="]) == {"a": ["1", "2", ""], "b": "x=y", "c": ""}


@pytest.mark.parametrize("word", ["lines", "=5", ""])
def test_a_parameter_without_a_name_or_a_value_is_wrong_usage(word: str) -> None:
    with pytest.raises(click.UsageError):
        read_params([word])


def test_parameters_by_position_stay_in_their_order() -> None:
    assert read_params([], ["b", "", "a=1"]) == ["b", "", "a=1"]


def test_parameters_by_name_and_by_position_do_not_mix() -> None:
    with pytest.raises(click.UsageError, match="not both"):
        read_params(["a=1"], ["b"])


def line_of(params: Any, *hosts: str) -> str:
    """The line that the master prints for *params*."""
    module: Any = SimpleNamespace(id="1003")
    rows: Any = [{"name": host} for host in hosts or ("web-01",)]
    return Plan(module, params, rows, None).omctl


def asked_by(line: str) -> tuple[Any, tuple[str, ...]]:
    """What omctl would send if a shell ran *line*: parameters and hosts."""
    omctl, name, *words = shlex.split(line)
    assert (omctl, name) == ("omctl", "run")
    with run.make_context("run", words) as context:
        read = context.params
    assert read["module"] == "1003"
    assert not any(read[flag] for flag in ("yes", "as_json", "no_wait", "output", "raw"))
    return read_params(read["pairs"], read["values"]), read["names"]


@pytest.mark.parametrize("word", NASTY_WORDS)
def test_the_line_that_the_master_prints_asks_for_the_same_whatever_the_words(word: str) -> None:
    for params in ({"one": word}, {"many": [word, "b", word]}, [word], [word, "", word]):
        assert asked_by(line_of(params)) == (params, ("web-01",))


@pytest.mark.parametrize("word", NASTY)
def test_hosts_of_the_line_are_hosts_whatever_their_names(word: str) -> None:
    assert asked_by(line_of({}, "web-01", word)) == ({}, ("web-01", word))


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({"on": True, "off": False}, {"on": "true", "off": "false"}),
        ({"apps": ["nginx"], "none": []}, {"apps": "nginx"}),
        ([], {}),
    ],
)
def test_the_line_says_in_text_what_text_can_say(params: Any, sent: Any) -> None:
    assert asked_by(line_of(params))[0] == sent


def test_words_are_the_same_for_a_job_as_for_a_line() -> None:
    assert param_words({"a": ["x", "y"], "b": True}) == ["-p", "a=x", "-p", "a=y", "-p", "b=true"]
    assert param_words(["x y", "-z"]) == ["--arg", "x y", "--arg", "-z"]
