"""Tell somebody that a job is paused: a program of the site is started with a JSON object to read.

The job goes on whatever becomes of that. It is told at most once: a worker that dies just after it has
committed a pause leaves it untold, and who takes a paused job up does not tell it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

log = logging.getLogger(__name__)

#: Seconds that the program may take; then it is killed, with all of its process group.
LIMIT = 30.0
#: Where it finds what it calls; mailers are in sbin.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Notices:
    """Tells each time the claimed job *row* comes to stand paused, or is so for another reason than before.

    Args:
        program: is started for it, by its absolute path; None: nobody is told.
    """

    def __init__(self, program: Path | None, row: RowMapping | Mapping[str, Any]) -> None:
        self._program = program
        self._job = {"job": row["id"]} | {name: row[name] for name in ("module", "title", "user")}
        self._paused_by: str | None = row["paused_by"] if row["state"] == "paused" else None

    def stands(self, state: str, paused_by: str, reason: str, hosts: Mapping[str, int]) -> None:
        """The job stands so, durably; *paused_by* is "" where it asks, *hosts* are their numbers.

        Returns at once and never raises.
        """
        before, self._paused_by = self._paused_by, paused_by if state == "paused" else None
        if self._program is None or self._paused_by in (None, before):
            return
        stand = {"state": state, "reason": reason, "paused_by": paused_by or None, "hosts": dict(hosts)}
        told = json.dumps(self._job | stand).encode()
        name = f"pause of job {self._job['job']}"
        try:
            threading.Thread(target=_tell, args=(self._program, told, name), name=name, daemon=True).start()
        except RuntimeError as error:
            log.warning("ON_PAUSE: the %s was not told: %s", name, error)


def _tell(program: Path, told: bytes, name: str) -> None:
    """Start *program*, which reads *told*, and wait for it. What it says on standard error is in our log."""
    try:
        process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": _PATH, "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"},
            start_new_session=True,
        )
    except OSError as error:
        log.warning("ON_PAUSE: the %s was not told: %s", name, error)
        return
    try:
        process.communicate(told, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LIMIT)
        log.warning("ON_PAUSE: %s took longer than %g s for the %s and was killed", program, LIMIT, name)
        return
    if process.returncode:
        log.warning("ON_PAUSE: %s ended with %d for the %s", program, process.returncode, name)
