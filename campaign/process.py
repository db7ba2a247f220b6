"""The entry of the campaign's masters and workers: OMServer as it is, at another pace, or broken on purpose.

    python -m campaign.process master | worker ...

``CAMPAIGN_PACE`` shortens claims, heartbeats and pauses alike (0.2: a fifth), so that an hour shows five
hours of takeovers. ``CAMPAIGN_DEFECT`` names one of `defects.DEFECTS`. In the folder ``CAMPAIGN_CLOCKS`` the
files ``clock.master`` and ``clock.worker`` say by how many seconds the clock is wrong. Nothing else differs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from omserver_master import crew
from omserver_master.commands import main
from omserver_master.jobs import claimed, dispatch, late, recorder, settling, worker

PACE = "CAMPAIGN_PACE"
DEFECT = "CAMPAIGN_DEFECT"
CLOCKS = "CAMPAIGN_CLOCKS"
CLOCK_OWNERS = ("master", "worker")
#: To this a process answers with the stacks of all its threads, into its log.
STACKS = signal.SIGUSR1
#: Seconds between two looks at how wrong the clock is.
LOOK = 0.1

#: Where seconds stand that are scaled with the pace.
_SECONDS = (
    (recorder, "LEASE"),
    (worker, "LEASE"),
    (claimed, "LEASE"),
    (settling, "LEASE"),
    (worker, "HEARTBEAT"),
    (worker, "SWEEP"),
    (dispatch, "LATEST_SEND"),
    (crew, "LONGEST_PAUSE"),
    (late, "MOMENTS"),
)


def keep_pace(pace: float) -> None:
    """Scale all of `_SECONDS`; a name that is gone is an error, so that nothing is measured wrongly."""
    for module, name in _SECONDS:
        before = getattr(module, name)
        after = tuple(one * pace for one in before) if isinstance(before, tuple) else before * pace
        setattr(module, name, after)


def wear_a_wrong_clock(file: Path) -> None:
    """Let ``time.time()`` be as wrong as *file* says, from the moment when it says so."""
    right, wrong = time.time, [0.0]

    def look() -> None:
        while True:
            with contextlib.suppress(OSError, ValueError):
                wrong[0] = float(file.read_text())
            time.sleep(LOOK)

    time.time = lambda: right() + wrong[0]
    threading.Thread(target=look, daemon=True).start()


def _spawn(self: crew.WorkerProcess) -> subprocess.Popen[bytes]:
    """As the original, but through this entry."""
    fd = self._far_end.fileno()
    argv = [sys.executable, "-m", "campaign.process", "worker", "--name", self.name, "--bell", str(fd)]
    argv += ["--parent", str(os.getpid())]
    return subprocess.Popen(argv, pass_fds=[fd], stdin=subprocess.DEVNULL)


def prepare(environment: Any = os.environ) -> None:
    """Make this process one of the campaign's."""
    faulthandler.register(STACKS)
    crew.WorkerProcess._spawn = _spawn  # type: ignore[method-assign]
    keep_pace(float(environment.get(PACE) or 1))
    if environment.get(CLOCKS):
        wear_a_wrong_clock(Path(environment[CLOCKS], f"clock.{sys.argv[1]}"))
    if environment.get(DEFECT):
        from . import defects

        defects.DEFECTS[environment[DEFECT]].apply()


if __name__ == "__main__":
    prepare()
    main()
