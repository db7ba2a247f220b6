"""A Salt job of ours: its id, fixed before it is sent, and what a minion returns from it."""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Mapping
from typing import Any

from ..contract.work import Answer, Work
from .base import no_output
from .onhost import unpack

#: What Salt puts in the place of an output that it found too long.
TRIMMED = "VALUE_TRIMMED"
#: Salt's job cache keeps a day; within this many seconds it must still know a job.
CACHE_SECONDS = 12 * 3600


def new_jid() -> str:
    """A new job id: the time, as Salt has it, and something that no other worker has."""
    now = datetime.datetime.now().astimezone()
    return f"{now:%Y%m%d%H%M%S%f}_{secrets.randbelow(10**8):08d}"


def is_recent(jid: str) -> bool:
    """Whether Salt's job cache must still know the job."""
    try:
        sent = datetime.datetime.strptime(jid[:20], "%Y%m%d%H%M%S%f").astimezone()
    except ValueError:
        return False
    return 0 <= time.time() - sent.timestamp() < CACHE_SECONDS


def read_return(said: Any, work: Work) -> Answer:
    """The answer in what a minion returned from ``cmd.run_all``; never raises."""
    if said == TRIMMED or (isinstance(said, Mapping) and TRIMMED in (said.get("stdout"), said.get("stderr"))):
        reason = "The output was longer than Salt's max_event_size, and Salt threw it away."
        return no_output("unknown", reason)
    if not isinstance(said, Mapping) or not isinstance(said.get("stdout"), str):
        return no_output("unknown", f"The minion answered something else: {str(said)[:200]!r}.")
    return unpack(said["stdout"].encode("utf-8", "replace"), work)


def has_ended(said: Any) -> bool:
    """Whether the work came to its own end, rather than being cut off before it could answer."""
    return isinstance(said, Mapping) and bool(said.get("stdout"))
