"""Reaches hosts through Ansible on this machine: ansible-runner's folders, a warm process, our own spool."""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...contract.enginework import Playbook
from ...contract.work import Answer, Put, Run, Script
from ..base import (
    Backend,
    ConnectionDown,
    Flight,
    FoundHost,
    NoInventory,
    Proof,
    Reachability,
    Target,
    no_output,
)
from ..onhost import UnfitWork, new_handle
from . import settings as ansible_settings
from .cancel import cancel
from .folder import MARK, JobFolder, RunFolder, default_run_folder
from .follow import BEGIN_AGAIN, Follower
from .jobs import HOST_NAME, Dispatch, sent_lately
from .listing import listing
from .sockets import control_folder, let_go, prepare
from .start import Start, Warm

log = logging.getLogger(__name__)

_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: Seconds after which a host is asked again whether it has a Python.
PYTHON_KNOWN_FOR = 3600.0
#: Earlier dispatches whose answers a dispatch tells its hosts to forget.
MOST_FORGOTTEN = 20


class AnsibleBackend(Backend):
    """One control node, on this machine: its inventories, its ansible.cfg, its keys."""

    kind = "ansible"
    SETTINGS = ansible_settings.SETTINGS
    WORKS = (Run, Script, Put, Playbook)

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        ansible_settings.check(name, self.settings)
        chosen = self.settings["run_dir"]
        self._folder = RunFolder(Path(chosen).expanduser() if chosen else default_run_folder(name))
        self._sockets = control_folder(self._folder.path)
        self._warm = Warm(self.settings["config"] or "", self._folder.path)
        self._followers: dict[int, Follower] = {}
        self._pythons: dict[str, tuple[bool, float]] = {}
        self._forgettable: list[str] = []
        self._swept = False
        self._lock = threading.Lock()

    def probe(self) -> Reachability:
        """Whether Ansible is installed, and what the settings name can be read; no host is asked."""
        reason = self._why_down()
        return Reachability(not reason, reason)

    def inventory(self, seconds: float) -> list[FoundHost]:
        """The hosts of the site's own inventories, with their groups.

        Raises:
            NoInventory: the connection names none.
            ConnectionDown: Ansible can't be started, or can't read them.
        """
        if not self.settings["inventory"]:
            raise NoInventory(f"The connection {self.name} names no inventory of the site.")
        if reason := self._why_down():
            raise ConnectionDown(reason)
        job, files = Dispatch(self.settings, {}, self._sockets).of_listing(seconds)
        return listing(self._start_apart(job, files), seconds)

    def new_handle(self) -> str:
        """ansible-runner's ident: the time, our folder's mark, and something that no other worker has."""
        made = new_handle()
        try:
            self._folder.open()
            return made[:8] + self._folder.mark() + made[8 + MARK :]
        except OSError:  # nothing will be sent without the folder
            return made

    def close(self) -> None:
        """Let the warm process and the shared ssh connections go. Runs under way go on."""
        for follower in list(self._followers.values()):
            follower.closed.set()
        self._warm.close()
        let_go(self._sockets)

    def _why_down(self) -> str:
        for package in ("ansible", "ansible_runner"):
            if importlib.util.find_spec(package) is None:
                return f"The Python package {package} is not installed here."
        try:
            self._folder.open()
            prepare(self._sockets)
        except OSError as error:
            return f"run_dir can't be used: {error}."
        return ansible_settings.why_down(self.settings)

    def _dispatch(self, flight: Flight) -> None:
        if reason := self._why_down():
            raise ConnectionDown(reason)
        if not _HANDLE.fullmatch(flight.handle):
            raise ConnectionDown(f"{flight.handle!r} is no handle of a run of Ansible.")
        hosts = self._one_each(flight)
        if not hosts:
            return
        try:
            folder = self._make_folder(flight, hosts)
        except UnfitWork as error:
            self._answer_all(flight, hosts, str(error))
            return
        except OSError as error:
            raise ConnectionDown(f"The folder of the run can't be written: {error}.") from error
        start = Start(self._warm, folder)
        follower = Follower(flight, hosts, folder, start.trouble, self._learn)
        self._followers[id(flight)] = follower
        try:
            start.tell()
        except ConnectionDown:
            if folder.claim():
                follower.closed.set()
                self._folder.remove(flight.handle)
                raise
        follower.start()

    def _make_folder(self, flight: Flight, hosts: Mapping[str, Target]) -> JobFolder:
        dispatch = Dispatch(self.settings, hosts, self._sockets)
        forget = self._forgettable[:MOST_FORGOTTEN]
        job, files = dispatch.of_work(flight, self._hosts_to_ask(hosts), forget)
        del self._forgettable[: len(forget)]
        self._sweep()
        return self._folder.make(flight.handle, job, files)

    def _collect(self, flight: Flight) -> None:
        folder = self._folder.find(flight.handle) if _HANDLE.fullmatch(flight.handle) else None
        if folder is None:
            self._answer_lost(flight)
            return
        follower = Follower(flight, self._one_each(flight), folder, lambda: "", self._learn, BEGIN_AGAIN)
        self._followers[id(flight)] = follower
        follower.start()

    def _answer_lost(self, flight: Flight) -> None:
        sent = not _HANDLE.fullmatch(flight.handle) or self._folder.was_sent(flight.handle)
        for host in flight.missing:
            if sent or not sent_lately(flight.handle, self._folder):
                reason = "The folder of this run is gone: what became of it is lost."
                flight.answer(host.id, no_output("unknown", reason))
            else:
                flight.answer(host.id, no_output("not_started", "This run was never handed to Ansible."))

    def _silent(self, flight: Flight, host: Target) -> Answer:
        follower = self._followers.get(id(flight))
        if follower is not None and follower.never_began():
            return no_output("not_started", "This machine did not come to starting Ansible in time.")
        return super()._silent(flight, host)

    def _release(self, flight: Flight) -> None:
        follower = self._followers.pop(id(flight), None)
        if follower is not None:
            follower.closed.set()
            follower.never_began()
            if not flight.missing:
                # All answers are in our spool: the hosts need not keep them any longer.
                self._forgettable.append(flight.handle)

    def _one_each(self, flight: Flight) -> dict[str, Target]:
        """The hosts by their names in the inventory. A name answers for one host only."""
        hosts: dict[str, Target] = {}
        for host in flight.missing:
            name = host.remote_id or host.name
            if not HOST_NAME.fullmatch(name):
                self._answer_all(flight, {name: host}, f"{name!r} can't be a host's name in an inventory.")
            elif name in hosts:
                reason = f"The hosts {hosts[name].name} and {host.name} have the same inventory name, {name}."
                self._answer_all(flight, {name: host}, reason)
            else:
                hosts[name] = host
        return hosts

    def _answer_all(self, flight: Flight, hosts: Mapping[str, Target], reason: str) -> None:
        for host in hosts.values():
            flight.answer(host.id, no_output("not_started", reason))

    def _hosts_to_ask(self, hosts: Mapping[str, Target]) -> list[str]:
        if self.settings["raw"] == "always":
            return []
        now = time.monotonic()
        known = {name for name, (_, since) in list(self._pythons.items()) if now - since < PYTHON_KNOWN_FOR}
        # One that has none is asked each time, so that its row says so each time.
        return [name for name in hosts if name not in known or not self._pythons[name][0]]

    def _learn(self, name: str, python: bool) -> None:
        self._pythons[name] = (python, time.monotonic())

    def _sweep(self) -> None:
        with self._lock:
            due, self._swept = not self._swept, True
        if due:
            threading.Thread(target=self._folder.sweep, daemon=True).start()

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        folder = self._folder.find(handle) if _HANDLE.fullmatch(handle) else None
        if folder is None:
            lost = self._folder.was_sent(handle) or not sent_lately(handle, self._folder)
            return {host.id: "unknown" if lost else "not_started" for host in hosts}
        named = {host.remote_id or host.name: host for host in hosts}

        def stop_on_hosts(running: Mapping[str, Target], seconds: float) -> JobFolder:
            dispatch = Dispatch(self.settings, running, self._sockets)
            job, files = dispatch.of_stop(handle, seconds, folder.job()["most_bytes"])
            return self._start_apart(job, files)

        return cancel(folder, named, stop_on_hosts)

    def _start_apart(self, job: Mapping[str, Any], files: Mapping[str, bytes]) -> JobFolder:
        """Start a run that no flight waits for."""
        try:
            self._folder.open()
            prepare(self._sockets)
            folder = self._folder.make(self.new_handle(), job, files)
        except OSError as error:
            raise ConnectionDown(f"The folder of the run can't be written: {error}.") from error
        self._warm.start_run(folder.path)
        return folder
