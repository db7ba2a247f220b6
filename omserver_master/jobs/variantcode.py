"""The module's code of one job where hosts of different engines get different files of 2014."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omserver_master.registry import variants
from omserver_master.registry.pool import ChildPool

from .code import ModuleCode, Tell

Order = Mapping[str, Any]


class VariantCode:
    """Runs each file in a child of its own, with the hosts that it is for, and tells of them as of one.

    Args:
        kinds: the kinds of each host's ways, in their order, by the host's name.
    """

    def __init__(self, pool: ChildPool, patience: float, kinds: Mapping[str, Sequence[str]]) -> None:
        self._pool = pool
        self._patience = patience
        self._kinds = kinds
        self._codes: dict[str, ModuleCode] = {}
        self._folders: dict[str, str] = {}
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def start(self, order: Order, tell: Tell) -> None:
        """Begin all files; *tell* receives every message, and one last ``done`` when all are over."""
        files = variants.unbundle(base64.b64decode(order["source"]))
        names = [host["name"] for host in order["hosts"]]
        self._folders = {name: variants.folder_for(self._kinds.get(name, ()), files) for name in names}
        self._running = set(self._folders.values())
        self._codes = {folder: ModuleCode(self._pool, self._patience) for folder in sorted(self._running)}
        for folder, code in self._codes.items():
            part = self._part(order, folder, files[folder])
            code.start(part, self._teller(folder, tell))

    def send(self, order: Order) -> None:
        """Hand over an answer to the file that its host runs. From any thread; never waits."""
        self._codes[self._folders[order["host"]]].send(order)

    def kill(self) -> None:
        """End all code now. From any thread."""
        for code in self._codes.values():
            code.kill()

    def close(self) -> None:
        """Nothing more will be sent."""
        for code in self._codes.values():
            code.close()

    def _part(self, order: Order, folder: str, source: bytes) -> Order:
        path = Path(order["path"])
        mine = {name for name, its in self._folders.items() if its == folder}
        return {
            **order,
            "path": str(path.parent / folder / path.name),
            "sha256": hashlib.sha256(source).hexdigest(),
            "source": base64.b64encode(source).decode(),
            "hosts": [host for host in order["hosts"] if host["name"] in mine],
            **{what: _of(order.get(what) or {}, mine) for what in ("ended", "replay")},
        }

    def _teller(self, folder: str, tell: Tell) -> Tell:
        """Pass on what one file says; what it says last concerns its own hosts only."""

        def told(message: Order) -> None:
            last = message["say"] in ("done", "broken") or (
                message["say"] == "crashed" and "host" not in message
            )
            if not last:
                tell(message)
                return
            about = {
                "line": message.get("line"),
                "reason": message.get("reason", "It ended without saying how this host ended."),
            }
            for name in self._hosts_of(folder):
                tell({"say": "crashed", "host": name, **about})
            with self._lock:
                self._running.discard(folder)
                over = not self._running
            if over:
                tell({"say": "done"})

        return told

    def _hosts_of(self, folder: str) -> Iterable[str]:
        return [name for name, its in self._folders.items() if its == folder]


def _of(whole: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in whole.items() if name in names}
