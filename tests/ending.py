"""How programs of ours that start others end: by taking those with them, whatever the end is."""

from __future__ import annotations

import signal
import subprocess
import sys


def end_on_sigterm() -> None:
    """Let SIGTERM (of `timeout`, of a service manager) end this program like an error: all blocks are left.

    Without it the program dies at once, and no block tidies up.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Guard:
    """Kills the process group *group* when this process ends, however that is, until it is called off."""

    def __init__(self, group: int) -> None:
        # It hears of our end by the end of its input, which nobody else can write to.
        self._process = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "sh", str(group)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def call_off(self) -> None:
        """From now on the number may be another group's."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
