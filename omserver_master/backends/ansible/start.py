"""The worker's end of the warm process (warm.py), and the start of a run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from ..base import ConnectionDown
from .folder import JobFolder

#: Not for Ansible: our own settings may hold secrets, and its settings come from ansible.cfg.
_NOT_PASSED_ON = ("OMSERVER_", "ANSIBLE_", "PYTHON", "LC_")


class Warm:
    """One warm process, of one connection in one worker. Safe to use from several threads."""

    def __init__(self, config: str, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._errors: Path | None = None

    def start_run(self, folder: Path) -> subprocess.Popen[bytes]:
        """Have the run of *folder* started; the process that was told.

        Raises:
            ConnectionDown: there is no such process and none could be started.
        """
        with self._lock:
            for _ in range(2):
                if self._process is None or self._process.poll() is not None:
                    self._start()
                assert self._line is not None
                assert self._process is not None
                with suppress(OSError):
                    self._line.sendall(os.fsencode(folder) + b"\n")
                    return self._process
                self._end()
        raise ConnectionDown(f"Ansible could not be started. {self.last_words()}".strip())

    def warm_up(self) -> None:
        """Start it ahead of its first run.

        Raises:
            ConnectionDown: it could not be started.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()

    def last_words(self) -> str:
        """What it last complained of, in one line."""
        if self._errors is None:
            return ""
        with suppress(OSError):
            lines = self._errors.read_text("utf-8", "replace").strip().splitlines()
            return (
                next((line for line in lines if line.startswith("ERROR")), lines[-1])[:500] if lines else ""
            )
        return ""

    def close(self) -> None:
        """Tell it to end; runs go on."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._end()
        ours, theirs = socket.socketpair()
        file, name = tempfile.mkstemp(prefix="warm-", dir=self._folder)
        self._errors = Path(name)
        try:
            with os.fdopen(file, "wb") as errors, theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", f"{__package__}.warm"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd=self._folder,
                    env=self._environment(),
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise ConnectionDown(f"Ansible could not be started: {error}.") from error
        self._line = ours

    def _environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
        # Ansible's own programs stand beside our Python, and are not on everybody's PATH.
        env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', os.defpath)}"
        env["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
        env["LC_ALL"] = "C.UTF-8"
        if self._config:
            env["ANSIBLE_CONFIG"] = self._config
        return env

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(2)
        self._line = self._process = None
        self._forget_errors()

    def _forget_errors(self) -> None:
        if self._errors is not None:
            self._errors.unlink(missing_ok=True)
            self._errors = None


class Start:
    """The start of one run: knows which process was told of it. Others may have replaced that one since."""

    def __init__(self, warm: Warm, folder: JobFolder) -> None:
        self._warm = warm
        self._folder = folder
        self._told: subprocess.Popen[bytes] | None = None
        self._again = False

    def tell(self) -> None:
        """Have the run started.

        Raises:
            ConnectionDown: there is nobody who could.
        """
        self._told = self._warm.start_run(self._folder.path)

    def trouble(self) -> str:
        """Why the run can no longer be started, or ""; tells another process if the first ended unheard."""
        if self._folder.claimed or self._told is None or self._told.poll() is None:
            return ""
        if self._again:
            return f"Ansible could not be started. {self._warm.last_words()}".strip()
        # It ended before it read our line, as it does when it had nothing to do for long.
        self._again = True
        try:
            self.tell()
        except ConnectionDown as down:
            return str(down)
        return ""
