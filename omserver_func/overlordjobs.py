"""The overlord's background jobs: what was started where, and what came of it.

    (0, -1)               the minions' own job ids are not collected yet
    (3, {host: result})   some hosts are done
    (1, {host: result})   all are
    (2, 0)                nobody knows such a job

A job is a file in a folder of mode 0700, so that another process of the same user can ask for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import FuncClientError, is_error, remote_error

RUNNING, FINISHED, LOST, PARTIAL = 0, 1, 2, 3
KEEP_SECONDS = 24 * 3600.0

_Calls = Callable[[dict[str, tuple[str, Sequence[Any]]]], dict[str, Any]]


class OverlordJobs:
    """The jobs of one user."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _default_folder()
        self._lock = threading.Lock()

    def start(self, job_id: str, hosts: Sequence[str], submit: Callable[[], dict[str, Any]]) -> str:
        """Send the calls of *submit* in the background; give the id back at once."""
        self._write(job_id, {"started": time.time(), "status": RUNNING, "ids": {}, "results": {}})

        def work() -> None:
            answers = submit()
            failed = {host: answer for host, answer in answers.items() if is_error(answer)}
            ids = {host: answer for host, answer in answers.items() if host not in failed}
            job = {"started": time.time(), "status": PARTIAL, "ids": ids, "results": failed}
            self._write(job_id, _judged(job))

        # Not a daemon: a program that ends right after the call has still sent it.
        threading.Thread(target=work).start()
        return job_id

    def status(self, job_id: str, call: _Calls) -> tuple[int, Any]:
        """What is known; asks the minions that were not done before."""
        job = self._read(job_id)
        if job is None:
            return LOST, 0
        if job["status"] == RUNNING:
            return RUNNING, -1
        if job["status"] == FINISHED:
            return FINISHED, job["results"]
        answers = call({host: ("jobs.job_status", [minion_id]) for host, minion_id in job["ids"].items()})
        for host, answer in answers.items():
            if (result := _result(answer)) is not None:
                del job["ids"][host]
                job["results"][host] = result[0]
        self._write(job_id, _judged(job))
        return job["status"], job["results"]

    def open(self) -> dict[str, int]:
        """The jobs that are not finished."""
        found = {}
        for file in self._folder.glob("*.json") if self._folder.is_dir() else ():
            job = _load(file)
            if job is not None and job["status"] != FINISHED:
                found[str(job["id"])] = int(job["status"])
        return found

    def _file(self, job_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(job_id.encode()).hexdigest()}.json"

    def _read(self, job_id: str) -> dict[str, Any] | None:
        with self._lock:
            return _load(self._file(job_id))

    def _write(self, job_id: str, job: dict[str, Any]) -> None:
        packed = job | {"id": job_id, "results": xmlrpc.client.dumps((job["results"],), allow_none=True)}
        file = self._file(job_id)
        part = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.geteuid():
                raise FuncClientError(f"{self._folder} belongs to somebody else.")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                json.dump(packed, stream)
            part.replace(file)
            self._purge()

    def _purge(self) -> None:
        before = time.time() - KEEP_SECONDS
        for file in self._folder.glob("*.json"):
            try:
                if file.stat().st_mtime < before:
                    file.unlink()
            except FileNotFoundError:
                continue


def _load(file: Path) -> dict[str, Any] | None:
    try:
        job: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    job["results"] = xmlrpc.client.loads(job["results"])[0][0]
    return job


def _judged(job: dict[str, Any]) -> dict[str, Any]:
    job["status"] = PARTIAL if job["ids"] else FINISHED
    return job


def _result(answer: Any) -> tuple[Any] | None:
    """The end that `jobs.job_status` told of; None: it runs."""
    if not isinstance(answer, list) or len(answer) != 2:
        return (answer[:3] if isinstance(answer, list) else remote_error("", "no job status")[:3],)
    status, value = answer
    if status == LOST:
        return (remote_error("lost job", "")[:2],)
    return (value,) if status != RUNNING else None


def _default_folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    return Path(state) / "omserver-func" / "jobs"
