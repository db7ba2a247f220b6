"""The words for where a job and a host's work stand, and the rule for how a job ends.

job:   queued -> running <-> paused -> (cancelling) -> succeeded | failed | cancelled | interrupted | expired
host:  pending -> dispatched -> ok | failed | unreachable | timed_out | cancelled | skipped
                                | not_started | unknown
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OPEN_JOB: Final = frozenset({"queued", "running", "paused", "cancelling"})
FINAL_JOB: Final = frozenset({"succeeded", "failed", "cancelled", "interrupted", "expired"})
JOB_STATES: Final = OPEN_JOB | FINAL_JOB

OPEN_HOST: Final = frozenset({"pending", "dispatched"})
FINAL_HOST: Final = frozenset(
    {"ok", "failed", "unreachable", "timed_out", "cancelled", "skipped", "not_started", "unknown"}
)
HOST_STATES: Final = OPEN_HOST | FINAL_HOST


def job_end(
    counts: Mapping[str, int], *, expired: bool = False, interrupted: bool = False, cancelled: bool = False
) -> str:
    """The final state of a job whose hosts ended as *counts* says (state -> number of hosts).

    The first rule that fits wins; a host that is still open here counts as ``unknown``.
    """
    seen = {state for state, number in counts.items() if number}
    if seen <= {"ok", "skipped"}:
        return "succeeded"
    if expired and seen <= {"not_started"}:
        return "expired"
    if interrupted:
        return "interrupted"
    if cancelled and not seen & ({"unknown"} | OPEN_HOST):
        return "cancelled"
    return "failed"
