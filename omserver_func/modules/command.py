"""Run a command of the shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from typing import IO, Any

from ..errors import FuncError
from ..module import FuncModule

#: Seconds after which a command is ended.
LONGEST = 24 * 3600.0
#: Bytes of each stream that are sent.
MOST_OUTPUT = 8 * 1024 * 1024


class Command(FuncModule):
    """See the top of the file."""

    version = "0.0.1"
    api_version = "0.0.1"
    description = "Works with shell commands."

    def run(self, command: str, env: dict[str, str] | None = None) -> list[Any]:
        """[return code, standard output, standard error] of a text for ``/bin/sh -c``; *env* replaces all."""
        argv = ["/bin/sh", "-c", _words(command)]
        variables = {str(name): str(value) for name, value in env.items()} if env is not None else None
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=variables, start_new_session=True
            )
            rc = _wait(process)
            return [rc, _text(out), _text(err)]

    def exists(self, path: str) -> bool:
        """Whether *path* can be executed."""
        return os.access(path, os.X_OK)


def _words(command: object) -> str:
    if not isinstance(command, str):
        raise TypeError("The command is a text.")
    if "\0" in command:
        raise ValueError("embedded null byte")
    return command


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(LONGEST)
    except subprocess.TimeoutExpired as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        raise FuncError(f"The command ran for {LONGEST:g} s and was ended.") from error


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read(MOST_OUTPUT).decode("utf-8", "replace")
