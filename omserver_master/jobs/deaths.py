"""How many workers died while they had a job and it got no further: too many, and it is the job's own doing.

Pure logic over the job's `Progress`, which is written down with each count. A worker that was stopped and
gave the job back did not die; a job that pauses, or waits for its next batch, does nothing to a worker.
"""

from __future__ import annotations

from dataclasses import replace

from .rollout import Progress

#: So many workers may die one after another while they have one job and it gets no further.
MOST_DEATHS = 5


def counted(progress: Progress, attempt: int, done: int, *, idle: bool) -> Progress:
    """*progress* as it stands when the job is claimed for the *attempt*-th time.

    Args:
        done: how far the job is; it grows with every host's end and every step that was answered.
        idle: whether the job did nothing while the worker before had it.
    """
    if attempt == 1 or progress.released == attempt - 1 or idle:
        return progress if progress.done == done else replace(progress, done=done, deaths=0)
    deaths = progress.deaths + 1 if progress.done == done else 0
    return replace(progress, done=done, deaths=deaths)
