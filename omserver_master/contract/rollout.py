"""The options of a roll-out, as a caller gives them and as a module sets their defaults: read and checked.

    {"batch": "10%", "canary": ["db-3"], "ask": True, "wait": 30, "stop_after": "3"}

Nothing here knows hosts; what depends on them is checked where they are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

#: Seconds that a pause lasts at most, where nothing else is said.
PAUSE_LIMIT: Final = 86_400
_DAY = 86_400
_WEEK = 7 * _DAY
_VERIFY = re.compile(r"https?://\{(ip|name)\}(:(?P<port>\d{1,5}))?(/[!-z|~]*)?|tcp:(?P<tcp>\d{1,5})")
_SPREAD = re.compile(r"app|categ|label:[a-z0-9][a-z0-9_.-]{0,62}")
#: What a verify step is where nothing else is said.
VERIFY_DEFAULTS: Final[Mapping[str, int]] = {"verify_times": 1, "verify_within": 60, "expect": 200}


class RolloutMistake(ValueError):
    """An option is not what it may be; *option* is its name."""

    def __init__(self, option: str, what: str) -> None:
        super().__init__(f"{option}: {what}" if option else what)
        self.option = option


def _is_whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_share(value: Any) -> bool:
    """A number of hosts, or per cent of the job's hosts."""
    return isinstance(value, str) and re.fullmatch(r"[1-9]\d{0,5}|[1-9]\d?%|100%", value) is not None


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and 0 < len(value) <= 1000


def _is_spread(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(g, list | tuple) and len(g) > 1 for g in value)
    return isinstance(value, str) and _SPREAD.fullmatch(value) is not None


def _is_verify(value: Any) -> bool:
    """The host's own ip or name, and nothing else, is what is asked: no other machine can be named."""
    found = _VERIFY.fullmatch(value) if isinstance(value, str) and len(value) <= 500 else None
    return found is not None and all(1 <= int(port) <= 65_535 for port in found.group("port", "tcp") if port)


_SHARE = 'a number of hosts like "3", or a part of them like "10%"'

#: option -> (is it acceptable?, what is allowed)
RULES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "batch": (_is_share, _SHARE),
    "canary": (_is_names, "a list of 1 to 1000 hosts of the job"),
    "ask": (lambda value: isinstance(value, bool), "true or false"),
    "wait": (_is_whole(0, _DAY), f"whole seconds, at most {_DAY}"),
    "stop_after": (_is_share, _SHARE),
    "unreachable_counts": (lambda value: isinstance(value, bool), "true or false"),
    "spread": (_is_spread, '"app", "categ", "label:NAME", or a list of groups of host names'),
    "verify": (
        _is_verify,
        'an address of the host itself: "http://{ip}:8080/health", "https://{name}/", or "tcp:5432"',
    ),
    "verify_times": (_is_whole(1, 100), "a whole number from 1 to 100"),
    "verify_within": (_is_whole(1, 3600), "whole seconds, from 1 to 3600"),
    "expect": (_is_whole(100, 599), "an HTTP status, from 100 to 599"),
    "pause_limit": (_is_whole(1, _WEEK), f"whole seconds, from 1 to {_WEEK}"),
}


def read_rollout(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set, each checked by itself.

    Raises:
        RolloutMistake: one is unknown, or not what it may be.
    """
    found = {name: value for name, value in options.items() if value is not None}
    for name, value in found.items():
        accepts, allowed = RULES.get(name, (None, ""))
        if accepts is None:
            raise RolloutMistake(str(name), f"there is no such option; there are {', '.join(RULES)}")
        if not accepts(value):
            raise RolloutMistake(name, f"may be {allowed}")
    return found


def check_together(options: Mapping[str, Any]) -> None:
    """Check that the options make sense with each other.

    Raises:
        RolloutMistake: one would have no effect.
    """
    if not any(options.get(name) for name in ("batch", "canary", "spread")):
        check_at_once(options)
    for name in ("verify_times", "verify_within", "expect"):
        if name in options and not options.get("verify"):
            raise RolloutMistake(name, "needs verify, which says what is tried")
    limits = {**VERIFY_DEFAULTS, **options}
    if limits["verify_times"] > limits["verify_within"]:
        raise RolloutMistake(
            "verify_times", f"can't be reached in {limits['verify_within']} s, at one try a second"
        )
    if "expect" in options and options["verify"].startswith("tcp:"):
        raise RolloutMistake("expect", "is an HTTP status; tcp has none")
    if options.get("unreachable_counts") and not options.get("stop_after"):
        raise RolloutMistake("unreachable_counts", "needs stop_after, which says how many are too many")


def check_at_once(options: Mapping[str, Any]) -> None:
    """Check that the options make sense where all hosts begin at once.

    Raises:
        RolloutMistake: one would have no effect.
    """
    for name in ("ask", "wait", "stop_after"):
        if options.get(name):
            raise RolloutMistake(name, "needs a batch or a canary; without them all hosts begin at once")


def number_of(share: str, hosts: int) -> int:
    """How many of *hosts* a share means, at least one: "3", or "10%" rounded down."""
    if share.endswith("%"):
        return max(1, hosts * int(share[:-1]) // 100)
    return int(share)


def loosened(defaults: Mapping[str, Any], wanted: Mapping[str, Any], hosts: int) -> str:
    """The first option of *wanted* that is laxer than a module's *defaults* for so many hosts; "" if none."""

    def laxer(name: str) -> bool:
        before, after = defaults[name], wanted[name]
        if name in ("batch", "stop_after"):
            return number_of(after, hosts) > number_of(before, hosts)
        if name in ("wait", "verify_times"):
            return bool(after < before)
        if name == "verify_within":
            return bool(after > before)
        if name in ("ask", "unreachable_counts"):
            return before and not after
        return name != "pause_limit" and before != after

    if "verify" in defaults:
        defaults = {**VERIFY_DEFAULTS, **defaults}
    if "batch" in defaults and len(wanted.get("canary", ())) > number_of(defaults["batch"], hosts):
        return "canary"
    return next((name for name in wanted if name in defaults and laxer(name)), "")
