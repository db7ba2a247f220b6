"""How programs of ours that start others end when they are told to: by taking those with them."""

from __future__ import annotations

import signal
import sys


def end_on_sigterm() -> None:
    """Let SIGTERM (of `timeout`, of a service manager) end this program like an error: all blocks are left.

    Without it the program dies at once, and the masters and hosts that it has started live on.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
