"""Names of locks, as modules and callers say them."""

from __future__ import annotations

import re
from typing import Any, Final

#: What a job does while another one has its lock: wait, leave out the locked hosts, or not run at all.
LOCK_MODES: Final = ("queue", "skip", "refuse")
#: A lock's name; ``host`` means: a lock on each host of the job.
LOCK_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def lock_names(value: Any) -> tuple[str, ...]:
    """The attribute ``lock`` as a tuple; one name may be written alone, none as ``""``."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(value)


def are_lock_names(value: object) -> bool:
    """Whether *value* is a name of a lock, or a tuple of a few, or nothing."""
    if not isinstance(value, str | tuple) or len(lock_names(value)) > 20:
        return False
    return all(isinstance(name, str) and re.fullmatch(LOCK_NAME, name) for name in lock_names(value))
