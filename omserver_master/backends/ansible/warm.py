"""A process that has Ansible loaded, and forks for every run: starting Ansible anew takes most of a second.

Started by start.py. Standard input is a socket: each line names the folder of a run. It ends when the
other end is closed; runs go on to their end. It starts itself anew when ansible.cfg was changed.
Between two runs nothing is kept in it: whatever a run reads, it reads in its own fork.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

#: Seconds without anything to do, after which it ends; the next dispatch starts another.
IDLE = 900.0
#: Bytes of the longest line.
LONGEST = 4096

Signature = tuple[tuple[str, int, int, int], ...]


def signature(config: str) -> Signature:
    """What tells whether an ansible.cfg was changed, removed or made."""
    marks = []
    for name in [config] if config else ["~/.ansible.cfg", "/etc/ansible/ansible.cfg"]:
        try:
            status = Path(name).expanduser().stat()
        except OSError:
            continue
        marks.append((name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(marks)


def main() -> None:
    """Serve until nobody can ask for more."""
    before = signature(os.environ.get("ANSIBLE_CONFIG", ""))
    from . import run

    run.load()
    gc.collect()
    gc.freeze()
    # What was read before it started itself anew: half a line, and the folders whose turn it was not yet.
    buffer = os.fsencode("".join(sys.argv[1:2]))
    pending = sys.argv[2:]
    while True:
        for folder in pending:
            if signature(os.environ.get("ANSIBLE_CONFIG", "")) != before:
                _start_anew(buffer, pending[pending.index(folder) :])
            _fork(folder)
        _reap()
        if not select.select([0], [], [], IDLE)[0]:
            return
        chunk = os.read(0, LONGEST)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        pending = [os.fsdecode(line) for line in lines]


def _start_anew(buffer: bytes, pending: list[str]) -> None:
    words = [sys.executable, "-m", __spec__.name, os.fsdecode(buffer), *pending]
    os.execv(sys.executable, words)  # noqa: S606 -- no shell is wanted


def _reap() -> None:
    """Take leave of runs that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _fork(folder: str) -> None:
    if os.fork():
        return
    status = 70
    try:
        from . import run

        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        run.run(Path(folder))
        status = 0
    except BaseException:  # noqa: BLE001 -- a fork must never come back into the loop of its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
