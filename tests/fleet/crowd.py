"""Many minions at once, all on this machine, that answer to the Salt master of a fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from omserver_master.backends.base import Target
from omserver_master.demo import keeper
from omserver_master.demo.kept import short_folder
from omserver_master.demo.saltsite import ensure_key, write_minion

_FORKER = Path(__file__).with_name("salt_minions.py")


class Crowd:
    """*number* minions, known to the master whose folder of keys is *pki*, which listens on *address*."""

    def __init__(self, number: int, pki: Path, address: str, ports: list[int], logs: Path) -> None:
        self.names = tuple(f"crowd-{one:03}" for one in range(number))
        self.folder = short_folder()
        self._pki = pki
        self._address = address
        self._ports = ports
        self._logs = logs
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def targets(self) -> list[Target]:
        """The minions as a backend wants them; a host's id is its name."""
        return [Target(name, name, name, "127.0.0.1") for name in self.names]

    def start(self) -> None:
        """Start them all; they answer within half a minute."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._furnish, self.names))
        command = [sys.executable, "-P", str(_FORKER), str(self.folder), *self.names]
        log = str(self._logs / "crowd.out")
        self._keeper = subprocess.Popen(
            [
                sys.executable,
                "-I",
                keeper.__file__,
                json.dumps({"crowd": {"argv": command, "log": log}}),
                str(self.folder),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Leave no process and no file behind; the master forgets them."""
        if self._keeper is not None:
            self._keeper.stdin.close()
            self._keeper.wait(15)
            self._keeper = None
        for name in self.names:
            (self._pki / "minions" / name).unlink(missing_ok=True)

    def _furnish(self, name: str) -> None:
        config = write_minion(
            self.folder, name, self.folder / "s", self._logs, self._ports, master=self._address
        )
        options = json.loads((config / "minion").read_text())
        # All at once must not be too much for a small machine: the facts are found once, and a job is a
        # thread, not a process. (So a cancel would end the whole minion: for that, take a fleet's own.)
        options |= {"grains_cache": True, "grains_cache_expiration": 3600, "multiprocessing": False}
        (config / "minion").write_text(json.dumps(options, indent=1))
        public = ensure_key(config / "pki", "minion")
        (config / "pki" / "minion_master.pub").write_bytes((self._pki / "master.pub").read_bytes())
        # In one move: the master looks at this folder while it runs.
        part = self._pki / f".{name}.{os.getpid()}"
        part.write_bytes(public)
        part.replace(self._pki / "minions" / name)
