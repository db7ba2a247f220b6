"""The sockets of ssh connections that Ansible keeps open between runs; all workers share them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

#: The longest path of a folder of sockets: a socket's whole path has to fit into some 100 bytes.
LONGEST = 60
#: Seconds for telling all connections to end.
SECONDS = 5.0


def control_folder(run_folder: Path) -> Path:
    """The folder of sockets for a run folder; a short one elsewhere if the path is too long."""
    folder = run_folder / "cp"
    if len(os.fsencode(folder)) <= LONGEST:
        return folder
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"omserver-cp-{os.geteuid()}-{mark}"


def prepare(folder: Path) -> None:
    """Make the folder, and make sure that nobody else can put a socket there.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or folder.is_symlink():
        raise PermissionError(f"{folder} must be a folder of mode 0700 that belongs to our user")


def let_go(folder: Path) -> None:
    """Tell the connections to end with the last of those who use them."""
    with suppress(FileNotFoundError):
        sockets = [path for path in folder.iterdir() if path.is_socket()]
        asked = [_ask(path) for path in sockets]
        for process in asked:
            with suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS)
                continue
            process.kill()
            process.wait(SECONDS)
    # The last one to leave; who comes later makes it anew.
    with suppress(OSError):
        folder.rmdir()


def _ask(socket: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "stop", "-q", "omserver"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
