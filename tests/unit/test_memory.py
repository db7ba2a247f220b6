"""Threads that live at the same time take memory from few arenas."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, tempfile, threading
from omserver_master.memory import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
barrier = threading.Barrier(9)
def work():
    kept = bytearray(100_000)
    barrier.wait(20)
    barrier.wait(20)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
barrier.wait(20)
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap nr="))
barrier.wait(20)
"""


@pytest.mark.parametrize(("how", "few"), [("shared", True), ("as it is", False)])
def test_threads_share_two_arenas_if_they_are_told_to(how: str, few: bool) -> None:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True
    )
    assert (int(said.stdout) <= 2) == few, said.stdout
