"""The options of ``omctl run`` that say how a job goes over its hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

Command = Callable[..., Any]

_OPTIONS = (
    click.option("--batch", metavar="N|N%", help="So many hosts at once, the next when those have ended."),
    click.option("--canary", multiple=True, metavar="HOST", help="This host first; may be repeated."),
    click.option("--ask", is_flag=True, help="Wait for `omctl job resume` after the canary or first batch."),
    click.option("--wait", type=click.IntRange(min=0), help="Seconds between two batches."),
    click.option("--stop-after", metavar="N|N%", help="Begin on no other host after so many failures."),
    click.option("--stop-after-unreachable", is_flag=True, help="Hosts that are not reached count too."),
    click.option(
        "--spread",
        multiple=True,
        metavar="app|categ|label:NAME|HOST,HOST",
        help="Never two hosts of one application, one category, one label, or this list in one batch.",
    ),
    click.option(
        "--verify", metavar="URL", help="http://{ip}:8080/health or tcp:5432 must answer before a host is ok."
    ),
    click.option("--verify-times", type=click.IntRange(min=1), help="So many times in a row; 1."),
    click.option("--verify-within", type=click.IntRange(min=1), help="Within so many seconds; 60."),
    click.option("--expect", type=click.IntRange(100, 599), help="The HTTP status that is good; 200."),
    click.option("--pause-limit", type=click.IntRange(min=1), help="Seconds that a pause lasts at most."),
)
_NAMES = ("batch", "wait", "stop_after", "verify", "verify_times", "verify_within", "expect", "pause_limit")


def rollout_options(command: Command) -> Command:
    """Give *command* the options of a roll-out."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_rollout(options: dict[str, Any]) -> dict[str, Any] | None:
    """Take the options of a roll-out out of *options*, as a submit wants them; None: there is none."""
    found = {name: options.pop(name) for name in _NAMES}
    found["canary"] = list(options.pop("canary"))
    found["spread"] = _spread(options.pop("spread"))
    found["ask"] = options.pop("ask")
    found["unreachable_counts"] = options.pop("stop_after_unreachable")
    return {name: value for name, value in found.items() if value not in (None, [], False)} or None


def _spread(words: Sequence[str]) -> str | list[list[str]] | None:
    """A label, or the groups of hosts that are written as lists."""
    if len(words) == 1 and "," not in words[0]:
        return words[0]
    return [[host.strip() for host in word.split(",")] for word in words] or None
