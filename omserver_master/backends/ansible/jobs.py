"""What is written into the folder of a run: the hosts, the options, the work, the secrets."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...contract.enginework import Playbook
from ..base import Flight, Target
from ..onhost import most_bytes, pack, stop
from . import settings as ansible_settings
from .folder import MARK, RunFolder
from .host import BEFORE
from .yaml import unsafe_yaml

#: Seconds that a run of Ansible may take beyond its deadline, before it is ended from outside.
GRACE = 10.0
#: Seconds for which it must still be known that a run was sent.
RECENT = 12 * 3600
#: Names that mean one host wherever Ansible reads them: no pattern, no port, no range.
HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")
#: The name of the playbook in ansible-runner's folder ``project``.
PLAYBOOK = "omserver.yml"
#: Ansible would send the work once more when a connection broke; it must not.
_ONCE = {"ansible_ssh_retries": 0}


def sent_lately(handle: str, folder: RunFolder) -> bool:
    """Whether a dispatch of that handle, had there been one, would have left its mark in *folder*."""
    try:
        made = int(handle[:8], 16)
        since = (folder.path / "sent" / ".since").stat().st_mtime
        here = handle[8 : 8 + MARK] == folder.mark()
    except (ValueError, OSError):
        return False
    return here and since - 1 <= made and time.time() - made < RECENT


class Dispatch:
    """One dispatch to be written down."""

    def __init__(self, settings: Mapping[str, Any], hosts: Mapping[str, Target], sockets: Path) -> None:
        self._settings = settings
        self._hosts = hosts
        self._common = {
            "hosts": list(hosts),
            "inventory": list(settings["inventory"]),
            "options": ansible_settings.options(settings),
            "ssh_args": ansible_settings.ssh_args(settings),
            "env": ansible_settings.environment(settings),
            "control_path_dir": str(sockets),
            "python": "" if settings["python"] == "auto" else settings["python"],
        }

    def of_work(
        self, flight: Flight, ask_python: Sequence[str], forget: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The job and the files of ``flight.work``; *forget* are handles whose answers are here already.

        Raises:
            UnfitWork: it cannot be sent.
        """
        if isinstance(flight.work, Playbook):
            return self._of_playbook(flight, flight.work)
        stdin = pack(flight.work, flight.host_seconds, flight.handle, forget)
        handles = [flight.handle, *forget]
        job = self._on_hosts(flight.left + GRACE, handles, most_bytes(flight.work), ask_python)
        return self._whole(job, {"work": stdin}, _ONCE)

    def of_stop(self, handle: str, seconds: float, longest: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The job and the files for stopping on the hosts what was sent under *handle*.

        What is over already answers, with *longest* bytes at most.
        """
        job = self._on_hosts(seconds, [handle], longest)
        return self._whole(job, {"work": stop(handle, tell=True)}, _ONCE)

    def of_listing(self, seconds: float) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The job and the files for reading the site's inventories."""
        return self._whole({"listing": True, "module": "ping", "seconds": seconds}, {}, {})

    def _on_hosts(
        self, seconds: float, handles: Sequence[str], longest: int = 0, ask_python: Sequence[str] = ()
    ) -> dict[str, Any]:
        return {
            "handles": list(handles),
            "module": "omserver_host",
            "seconds": seconds,
            "most_bytes": longest + BEFORE,
            "ask_python": list(ask_python),
        }

    def _of_playbook(self, flight: Flight, work: Playbook) -> tuple[dict[str, Any], dict[str, bytes]]:
        options = [*self._common["options"], *_playbook_options(work)]
        seconds = flight.host_seconds
        job = {"playbook": PLAYBOOK, "folder": work.folder, "options": options, "seconds": seconds}
        return self._whole(job, {f"project/{PLAYBOOK}": work.text.encode()}, work.extra_vars)

    def _whole(
        self, job: Mapping[str, Any], files: Mapping[str, bytes], extra_vars: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        common = {
            "inventory/hosts.yml": unsafe_yaml(self._inventory()),
            "limit": "".join(f"{name}\n" for name in self._hosts).encode(),
            "env/extravars": unsafe_yaml(extra_vars),
            "env/passwords": ansible_settings.passwords(self._settings),
        }
        return {**self._common, **job}, {**common, **files}

    def _inventory(self) -> dict[str, Any]:
        """Our hosts; what the site's own inventories say of them comes later, and counts more."""
        hosts = {
            name: {"ansible_host": host.address} if host.address else {} for name, host in self._hosts.items()
        }
        variables = {"ansible_python_interpreter": self._common["python"]} if self._common["python"] else {}
        return {"all": {"hosts": hosts, "vars": variables}}


def _playbook_options(work: Playbook) -> list[str]:
    options = [f"--tags={','.join(work.tags)}"] if work.tags else []
    options += [f"--skip-tags={','.join(work.skip_tags)}"] if work.skip_tags else []
    return options + ["--check"] * work.check + ["--diff"] * work.diff
