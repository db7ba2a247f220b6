"""A small disk that can be full: a file system of its own in memory. It needs root."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from pathlib import Path

#: Bytes of it, unless told otherwise.
SIZE = 96 * 1024 * 1024
_PIECE = bytes(64 * 1024)


class Disk:
    """One at *folder*, of so many bytes."""

    def __init__(self, folder: Path, size: int = SIZE) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "campaign", str(folder)], check=True)

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.folder / "ballast").open("ab", buffering=0) as file:
            for piece in (_PIECE, _PIECE[:1]):
                try:
                    while True:
                        file.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """There is room again."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Forget it with all that is on it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
