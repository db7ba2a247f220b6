"""Fifty Salt minions for little: one process loads Salt once and forks one process for each of them.

    python -P salt_minions.py FOLDER NAME...

FOLDER/NAME/minion is a minion's configuration. Each has its own host name, keys, sockets and cache, and all
share this machine's files, network and memory of Salt's code. It runs until it is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import warnings
from pathlib import Path

CLONE_NEWUTS = 0x04000000
PR_SET_PDEATHSIG = 1


def become(config: Path) -> None:
    """Be the minion of that configuration, for ever."""
    import salt.config
    import salt.minion
    import setproctitle

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if libc.unshare(CLONE_NEWUTS) != 0:
        raise OSError(ctypes.get_errno(), "no own host name")
    socket.sethostname(config.name)
    # What stands here is what a minion that was started by itself shows: its interpreter and its folder.
    setproctitle.setproctitle(f"{sys.executable} salt-minion -c {config}")
    opts = salt.config.minion_config(str(config / "minion"))
    salt.minion.MinionManager(opts).tune_in()


def main() -> None:
    """Fork all, and wait until they end."""
    warnings.simplefilter("ignore")
    # Loaded once, for all: also what a minion would only load when it meets its master.
    import salt.channel.client
    import salt.master
    import salt.minion
    import salt.transport.tcp  # noqa: F401

    for name in sys.argv[2:]:
        if os.fork() == 0:
            try:
                become(Path(sys.argv[1], name))
            finally:
                os._exit(1)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
