"""How omctl ends: one exit code for a job, of the hosts' ends the one that asks for attention first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

OK = 0
SOME_FAILED = 1
REFUSED = 2
SOME_UNREACHABLE = 3
SOME_TIMED_OUT = 4
SOME_UNKNOWN = 5
NOT_RUN = 6
NOT_REACHED = 7
INTERRUPTED = 130

#: Of several, the first of these is the exit code.
_FIRST = (SOME_UNKNOWN, SOME_FAILED, SOME_TIMED_OUT, SOME_UNREACHABLE, NOT_RUN)

_OF_HOST = {
    "ok": OK,
    "skipped": OK,
    "failed": SOME_FAILED,
    "unreachable": SOME_UNREACHABLE,
    "timed_out": SOME_TIMED_OUT,
    "unknown": SOME_UNKNOWN,
    "cancelled": NOT_RUN,
    "not_started": NOT_RUN,
}

_OF_JOB = {"succeeded": OK, "cancelled": NOT_RUN, "interrupted": NOT_RUN, "expired": NOT_RUN}


def exit_code(job: Mapping[str, Any]) -> int:
    """The exit code for *job* as the master describes it, which must have ended."""
    codes = {_OF_HOST.get(state, SOME_UNKNOWN) for state, number in job["counts"].items() if number}
    codes.add(_OF_JOB.get(job["state"], OK))
    return _worst(codes) or (SOME_FAILED if job["state"] == "failed" else OK)


def of_host(state: str) -> int:
    """The exit code for the state of one host."""
    return _OF_HOST.get(state, SOME_UNKNOWN)


def _worst(codes: Iterable[int]) -> int:
    present = set(codes)
    return next((code for code in _FIRST if code in present), OK)
