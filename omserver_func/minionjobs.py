"""Background jobs of a minion: started by ``async.``, asked after by `jobs.job_status`.

A job belongs to the caller that started it, and is forgotten an hour after its start, once it is finished.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import FuncError

RUNNING, FINISHED, LOST = 0, 1, 2
KEEP_SECONDS = 3600.0
_MOST_RUNNING = 500


@dataclass
class _Job:
    caller: str
    started: float
    status: int = RUNNING
    result: Any = -1


class Jobs:
    """All background jobs of one minion."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()

    def start(self, caller: str, work: Callable[[], Any]) -> str:
        """Run *work*, which raises nothing, in a thread; give the job's id.

        Raises:
            FuncError: too many jobs run.
        """
        job_id = f"{time.time():.6f}-{secrets.token_hex(16)}-minion"
        job = _Job(caller, time.monotonic())
        with self._lock:
            self._purge()
            if sum(other.status == RUNNING for other in self._jobs.values()) >= _MOST_RUNNING:
                raise FuncError(f"{_MOST_RUNNING} jobs run already.")
            self._jobs[job_id] = job
        threading.Thread(target=_finish, args=(job, work), daemon=True).start()
        return job_id

    def status(self, caller: str, job_id: object) -> list[Any]:
        """[status, result]; a job of another caller is as unknown as one that never was."""
        with self._lock:
            self._purge()
            job = self._jobs.get(job_id) if isinstance(job_id, str) else None
            if job is None or job.caller != caller:
                return [LOST, 0]
            return [job.status, job.result]

    def _purge(self) -> None:
        before = time.monotonic() - KEEP_SECONDS
        old = [name for name, job in self._jobs.items() if job.started < before and job.status != RUNNING]
        for name in old:
            del self._jobs[name]


def _finish(job: _Job, work: Callable[[], Any]) -> None:
    result = work()
    job.result = result
    job.status = FINISHED
