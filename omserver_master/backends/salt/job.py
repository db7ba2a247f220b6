"""A Salt job of ours: its id, fixed before it is sent, and what a minion returns from it."""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Mapping
from typing import Any

#: What Salt puts in the place of an output that it found too long.
TRIMMED = "VALUE_TRIMMED"
#: However long the job cache keeps jobs, what it does not know proves nothing after so many seconds.
CACHE_SECONDS = 12 * 3600


def new_jid() -> str:
    """A new job id: the time, as Salt has it, and something that no other worker has."""
    now = datetime.datetime.now().astimezone()
    return f"{now:%Y%m%d%H%M%S%f}_{secrets.randbelow(10**8):08d}"


def kept_seconds(options: Mapping[str, Any]) -> float:
    """How long a Salt master with these *options* surely keeps what it sent; 0: it may keep nothing.

    Half of what is configured, so that no clean-up, clock or zone comes in between.
    """
    if options.get("job_cache") is not True or options.get("master_job_cache") != "local_cache":
        return 0.0
    configured = [("keep_jobs", 3600.0), ("keep_jobs_seconds", 1.0)]
    try:
        kept = [float(options[name]) * unit for name, unit in configured if options.get(name) is not None]
    except (TypeError, ValueError):
        return 0.0
    # Salt's 0 is for ever.
    limits = [seconds for seconds in kept if seconds != 0]
    return max(0.0, min([CACHE_SECONDS, *(seconds / 2 for seconds in limits)]))


def is_recent(jid: str, seconds: float) -> bool:
    """Whether the job was made in the last *seconds*."""
    try:
        sent = datetime.datetime.strptime(jid[:20], "%Y%m%d%H%M%S%f").astimezone()
    except ValueError:
        return False
    return 0 <= time.time() - sent.timestamp() < seconds


def what_is_wrong(said: Any) -> str:
    """Why what a minion returned from ``cmd.run_all`` is no answer of ours, in one line."""
    if said == TRIMMED or (isinstance(said, Mapping) and TRIMMED in (said.get("stdout"), said.get("stderr"))):
        return "The output was longer than Salt's max_event_size, and Salt threw it away."
    if not isinstance(said, Mapping) or not isinstance(said.get("stdout"), str):
        return f"The minion answered something else: {str(said)[:200]!r}."
    return f"The host's answer has no form that we know ({len(said['stdout'])} characters)."


def is_empty(said: Any) -> bool:
    """Whether the work was cut off before it could answer, rather than coming to its own end."""
    return not (isinstance(said, Mapping) and said.get("stdout"))
