"""What the campaign does to a disk and to a clock is what it says that it does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from campaign.disk import Disk
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
