"""Errors of the disk as the kernel tells them: strace lets the writes of processes fail. It needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence

import psutil

#: What fails: writes at a place of a file, and waiting for the disk. Not what goes over sockets and pipes.
CALLS = "pwrite64,pwritev,pwritev2,fsync,fdatasync"
#: Seconds that strace has to let go of them.
LET_GO = 10.0


def can_be_made() -> bool:
    """Whether this machine can do that."""
    return os.geteuid() == 0 and shutil.which("strace") is not None


def make(processes: Sequence[psutil.Process], seconds: float, error: str = "EIO") -> bool:
    """Let all those calls of *processes* fail for so long; False if none of them lives.

    What is under way when it ends may fail with ENOSYS instead.
    """
    there = [str(process.pid) for process in processes if process.is_running()]
    if not there:
        return False
    argv = ["strace", "-f", "-qq", "-o", os.devnull]
    argv += ["-e", f"trace={CALLS}", "-e", f"inject={CALLS}:error={error}"]
    argv += [word for pid in there for word in ("-p", pid)]
    tracer = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(seconds)
    finally:
        tracer.terminate()  # they go on by themselves
        tracer.wait(LET_GO)
    return True
