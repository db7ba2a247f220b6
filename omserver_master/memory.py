"""The memory of processes that live for months and in which very many threads come and go."""

from __future__ import annotations

import contextlib
import ctypes

#: Of glibc's mallopt(3): how many arenas there may be.
_M_ARENA_MAX = -8


def share_arenas() -> None:
    """Let all threads take memory from two arenas.

    Each of the many short-lived threads would get one of eight for each processor, which all grow to the most
    that a thread ever needed: a worker twice its size within minutes (docs/performance.md, P9).
    """
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
