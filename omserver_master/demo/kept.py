"""Daemons that live exactly as long as the demo holds them; the process that sees to it is `keeper`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import keeper


class Kept:
    """Daemons by name, and a short folder of their own; at `stop` neither is left.

    ``ended`` names those that ended by themselves.
    """

    def __init__(self) -> None:
        self.folder = short_folder()
        self.ended: list[str] = []
        self._keeper: subprocess.Popen[str] | None = None

    def start(self, commands: Mapping[str, Sequence[str]], logs: Path, prefix: str) -> None:
        """Start all; what they print goes to *logs*, in files that begin with *prefix*."""
        wire = {
            name: {"argv": list(argv), "log": str(logs / f"{prefix}-{name}.out")}
            for name, argv in commands.items()
        }
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, json.dumps(wire), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._hear, args=(self._keeper,), daemon=True).start()

    def stop(self) -> None:
        """Leave no process and no file behind. Takes about a tenth of a second, 10 s at most."""
        process, self._keeper = self._keeper, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(keeper.PATIENCE + 2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.startswith("ended "):
                    self.ended.append(line.split()[1])


def short_folder() -> Path:
    """A new folder of ours with a short name: the path of a socket ends at about 100 characters."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = runtime and len(runtime) < 40 and os.access(runtime, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="omdemo", dir=runtime if usable else "/tmp"))  # noqa: S108
