"""Helpers on the overlord's side: ``overlord.local.<module>.<method>``."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xmlrpc.client import Binary

from .errors import is_error, remote_error
from .overlordjobs import FINISHED, LOST

if TYPE_CHECKING:
    from .overlord import Overlord

#: Seconds for which a job is asked after.
LONGEST = 24 * 3600.0
_CHUNK = 60_000


class Local:
    """The helpers, by module."""

    def __init__(self, overlord: Overlord) -> None:
        self.utils = _Utils(overlord)
        self.copyfile = _CopyFile(overlord)
        self.getfile = _GetFile(overlord)
        self.test = _Test()


class _Test:
    def return1(self) -> int:
        """1."""
        return 1


class _Utils:
    def __init__(self, overlord: Overlord) -> None:
        self._overlord = overlord

    def list_minions(self) -> list[str]:
        """The hosts that match."""
        return self._overlord.list_minions()

    def async_poll(
        self, job_id: str, partial_func: Callable[[Any], Any] | None = None, interval: float = 0.5
    ) -> Any:
        """Wait for the end of a job (a day at most); *partial_func* is told what came so far."""
        end = time.monotonic() + LONGEST
        while True:
            status, results = self._overlord.job_status(job_id)
            if status in (FINISHED, LOST) or time.monotonic() > end:
                return results
            if partial_func is not None and isinstance(results, dict):
                partial_func(results)
            time.sleep(interval)


class _CopyFile:
    def __init__(self, overlord: Overlord) -> None:
        self._overlord = overlord

    def send(self, local: str, remote: str, bufsize: int = _CHUNK) -> dict[str, Any]:
        """Copy a file to every host, in pieces: {host: True or an error list}. Checks what arrived."""
        overlord = self._overlord
        done: dict[str, Any] = {}
        digest = hashlib.sha1(usedforsecurity=False)
        self._keep(done, overlord.call_each("copyfile.open", [remote], overlord.list_minions()), remote)
        with Path(local).open("rb") as file:
            while piece := file.read(bufsize):
                digest.update(piece)
                self._step(done, "copyfile.append", [remote, Binary(piece)], 1)
        self._step(done, "copyfile.checksum", [remote], digest.hexdigest())
        return {host: done.get(host, True) for host in overlord.list_minions()}

    def _step(self, done: dict[str, Any], method: str, args: list[Any], good: Any) -> None:
        left = [host for host in self._overlord.list_minions() if host not in done]
        self._keep(done, self._overlord.call_each(method, args, left), good)

    @staticmethod
    def _keep(done: dict[str, Any], answers: dict[str, Any], good: Any) -> None:
        for host, answer in answers.items():
            if answer != good:
                wrong = remote_error("func.minion.codes.FuncException", f"The copy failed: {answer!r}")
                done[host] = answer if is_error(answer) else wrong


class _GetFile:
    def __init__(self, overlord: Overlord) -> None:
        self._overlord = overlord

    def get(self, remote: str, folder: str) -> tuple[int, str]:
        """Fetch a file of every host into ``folder/<host>/``: (0, folder), or (1, what went wrong)."""
        for host in self._overlord.list_minions():
            problem = self._get(host, remote, Path(folder) / host.replace("/", "_"))
            if problem:
                return 1, f"{host}: {problem}"
        return 0, folder

    def _get(self, host: str, remote: str, folder: Path) -> str:
        count = self._overlord.call_each("getfile.chunkslen", [remote], [host])[host]
        if not isinstance(count, int) or count < 0:
            return f"{remote} can't be read there"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / Path(remote).name).open("wb") as file:
            for number in range(count):
                answer = self._overlord.call_each("getfile.getchunk", [number, remote], [host])[host]
                if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], str):
                    return f"piece {number} of {remote} did not come"
                if hashlib.sha1(answer[1].encode(), usedforsecurity=False).hexdigest() != answer[0]:
                    return f"piece {number} of {remote} came damaged"
                file.write(base64.b64decode(answer[1]))
        return ""
