"""What the campaign does to a disk, to a clock and to a process's writes is what it says that it does."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from campaign import ioerrors
from campaign.disk import Disk
from campaign.storm import FAULTS, _can_be
from tests.system import CHECKOUT

TELL = """
import sys, time
from pathlib import Path
from campaign.process import wear_a_wrong_clock
file, right = Path(sys.argv[1]), time.time
wear_a_wrong_clock(file)
for wrong in (120.0, -30.0, 0.0):
    file.write_text(str(wrong))
    end = time.monotonic() + 10
    while abs(time.time() - right() - wrong) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    print(round(time.time() - right()))
"""


WRITE = """
import os, sys
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
while True:
    try:
        os.pwrite(file, b"x", 0)
        os.fdatasync(file)
        print("written", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


@pytest.mark.skipif(not ioerrors.can_be_made(), reason="strace, as root")
def test_writes_fail_for_a_while_and_then_no_more(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", WRITE, str(tmp_path / "file")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = iter(writer.stdout)
        try:
            assert next(said) == "written\n"
            maker = threading.Thread(target=ioerrors.make, args=([psutil.Process(writer.pid)], 0.3))
            maker.start()
            assert next(word for word in said if word != "written\n") == f"{errno.EIO}\n"
            assert "written\n" in said
            maker.join(20)
        finally:
            writer.kill()
    assert not ioerrors.make([], 0.3)


def test_a_storm_does_to_a_place_what_can_be_done_there() -> None:
    plain = SimpleNamespace(server=SimpleNamespace(can_die=False), disk=None)
    there = {kind for kind in FAULTS if _can_be(kind, plain)}  # type: ignore[arg-type]
    assert {"worker killed", "master told to stop", "clock wrong"} <= there
    assert not {"database killed", "Redis asleep", "salt-master killed", "disk full"} & there
    server = SimpleNamespace(server=SimpleNamespace(can_die=True), disk="small")
    more = {kind for kind in FAULTS if _can_be(kind, server)} - there  # type: ignore[arg-type]
    assert more >= {"database killed", "database asleep", "database told to stop", "disk full"}


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="a file system of its own")
def test_a_full_disk_takes_no_byte_until_it_is_emptied(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    try:
        (disk.folder / "kept").write_bytes(b"kept")
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            (disk.folder / "more").write_bytes(b"more")
        disk.empty()
        (disk.folder / "more").write_bytes(b"more")
        assert (disk.folder / "kept").read_bytes() == b"kept"
    finally:
        disk.close()


def test_a_clock_is_as_wrong_as_its_file_says(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", TELL, str(tmp_path / "clock")]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["120", "-30", "0"]
