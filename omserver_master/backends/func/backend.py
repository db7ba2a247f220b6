"""Reaches minions of Func: our own `omserver-funcd`, and those of the original."""

from __future__ import annotations

import logging
import os
import re
import ssl
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from omserver_func.errors import CallFailed
from omserver_func.names import HostList, read_groups
from omserver_func.subject import pem_to_der, subject_of
from omserver_func.tls import PROFILES, Identity, client_context, expires_soon, why_unusable

from ...contract.work import Answer
from ..base import Backend, ConnectionDown, Flight, FoundHost, Proof, Reachability, Target, no_output
from ..onhost import UnfitWork, pack
from ..options import Setting
from . import old as old_minion
from .rounds import Rounds
from .talk import Denied, MinionError, NoSuchMethod, Road, Talk, age_of, call

log = logging.getLogger(__name__)

#: Seconds that a cancel may take in all, and the minion for ending one work.
_CANCEL_SECONDS = 14.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
_PROOFS: Mapping[str, Proof] = {"stopped": "stopped", "running": "still_running", "never": "not_started"}


class FuncBackend(Backend):
    """The minions whose certificates one CA has signed."""

    kind = "func"
    SETTINGS = (
        Setting("ca_file", "The CA's certificate.", "CA 的证书文件。", "path", required=True),
        Setting(
            "cert_file",
            "The certificate that minions get to see; their ACLs name its owner.",
            "出示给 minion 的证书；minion 的 ACL 中写的就是它的主体。",
            "path",
            required=True,
        ),
        Setting("key_file", "The key of that certificate.", "该证书的私钥文件。", "path", required=True),
        Setting(
            "certroot",
            "The folder with a certificate NAME.cert for each minion.",
            "存放每个 minion 的证书 NAME.cert 的目录。",
            "path",
            default="/var/lib/certmaster/certmaster/certs",
        ),
        Setting(
            "groups_file", "Func's file of groups.", "Func 的分组文件。", "path", default="/etc/func/groups"
        ),
        Setting("port", "The port of the minions.", "minion 监听的端口。", "number", default=51234),
        Setting(
            "profile",
            "modern: TLS 1.2 or newer. legacy: also TLS 1.0, and certificates signed with SHA-1.",
            "modern：TLS 1.2 或更新。legacy：还允许 TLS 1.0 以及 SHA-1 签名的证书。",
            "choice",
            default="modern",
            choices=PROFILES,
        ),
        Setting(
            "timeout",
            "Seconds that a minion may take to answer a call.",
            "minion 应答一次调用的最长秒数。",
            "number",
            default=10,
        ),
        Setting(
            "most_at_once", "Minions that are called at once.", "同时调用的 minion 数。", "number", default=64
        ),
        Setting(
            "verify_minion_name",
            "Whether a minion's certificate must be its own, and not just any minion's.",
            "minion 出示的证书是否必须是它自己的，而不能是其他 minion 的。",
            "bool",
            default=True,
        ),
    )

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._identity = Identity(*map(self._path, ("ca_file", "cert_file", "key_file")))
        self._cert_root = self._path("certroot")
        self._rounds = Rounds(int(self.settings["most_at_once"]))
        self._talks: dict[int, dict[str, Talk]] = {}
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, ...], Road] | None = None

    def _path(self, setting: str) -> Path:
        return Path(self.settings[setting]).expanduser()

    def probe(self) -> Reachability:
        """Look at our own files; no minion is asked. A certificate that soon ends is told of."""
        try:
            self._road()
            return Reachability(True, expires_soon(self._identity))
        except ConnectionDown as down:
            return Reachability(False, str(down))

    def inventory(self, seconds: float) -> list[FoundHost]:
        """The minions with a signed certificate, and Func's groups that name them."""
        self._road()
        if not os.access(self._cert_root, os.R_OK | os.X_OK):
            raise ConnectionDown(f"The folder {self._cert_root} can't be read.")
        groups_file = self._path("groups_file")
        hosts = HostList(self._cert_root, groups_file)
        groups = {name: hosts.match(f"@{name}") for name in read_groups(groups_file)}
        return [
            FoundHost(name, name, groups=tuple(group for group, its in sorted(groups.items()) if name in its))
            for name in sorted(hosts.known())
        ]

    def new_handle(self) -> str:
        """The time in it tells whether a minion was up when the work was sent."""
        return f"{int(time.time()):x}-{uuid.uuid4().hex}"

    def close(self) -> None:
        """Say nothing to any minion any more."""
        self._rounds.close()

    def _dispatch(self, flight: Flight) -> None:
        road = self._road()
        try:
            stdin = pack(flight.work, flight.host_seconds)
        except UnfitWork as error:
            for host in flight.missing:
                flight.answer(host.id, no_output("not_started", str(error)))
            return
        self._talk(flight, road, stdin)

    def _collect(self, flight: Flight) -> None:
        self._talk(flight, self._road(), None)

    def _talk(self, flight: Flight, road: Road, stdin: bytes | None) -> None:
        talks = self._talks[id(flight)] = {
            host.id: Talk(road, flight, host, stdin) for host in _one_each(flight)
        }
        for talk in talks.values():
            self._rounds.put(talk.step)

    def _silent(self, flight: Flight, host: Target) -> Answer:
        talk = self._talks.get(id(flight), {}).get(host.id)
        return talk.verdict() if talk is not None else super()._silent(flight, host)

    def _release(self, flight: Flight) -> None:
        for talk in self._talks.pop(id(flight), {}).values():
            talk.close()

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        road = self._road()
        deadline = time.monotonic() + _CANCEL_SECONDS
        threads = ThreadPoolExecutor(max_workers=min(len(hosts), int(self.settings["most_at_once"]) or 1))
        asked = {
            threads.submit(_stop, road, handle, host, deadline, self._talks_with(host, handle)): host.id
            for host in hosts
        }
        proofs: dict[str, Proof] = {}
        try:
            for done in as_completed(asked, timeout=_CANCEL_SECONDS):
                proofs[asked[done]] = done.result()
        except TimeoutError:
            log.warning("%s: cancel: %d minions did not answer in time", handle, len(hosts) - len(proofs))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        return proofs

    def _talks_with(self, host: Target, handle: str) -> list[Talk]:
        """What is being said to that host about that dispatch."""
        with self._flights_lock:
            flights = list(self._flights.get(handle, ()))
        talks = (self._talks.get(id(flight), {}).get(host.id) for flight in flights)
        return [talk for talk in talks if talk is not None]

    def _road(self) -> Road:
        """How minions are reached, with the files as they are now.

        Raises:
            ConnectionDown: they can't be used.
        """
        if reason := why_unusable(self._identity):
            raise ConnectionDown(reason)
        identity = self._identity
        try:
            seen = tuple(path.stat().st_mtime_ns for path in (identity.ca, identity.cert, identity.key))
            with self._lock:
                if self._known is None or self._known[0] != seen:
                    self._known = seen, self._new_road()
                return self._known[1]
        except ssl.SSLError as error:
            reason = error.reason or "no certificate that goes with the key"
            raise ConnectionDown(f"{identity.cert} can't be used: {reason}.") from error
        except OSError as error:
            raise ConnectionDown(f"{identity.cert} or its key can't be used: {error}") from error

    def _new_road(self) -> Road:
        return Road(
            client_context(self._identity, self.settings["profile"]),
            int(self.settings["port"]),
            float(self.settings["timeout"]),
            self.settings["verify_minion_name"],
            subject_of(pem_to_der(self._identity.cert)).key,
        )


def _one_each(flight: Flight) -> list[Target]:
    """The hosts that have a minion of their own; the others are answered."""
    seen: dict[str, Target] = {}
    for host in flight.missing:
        name = (host.remote_id or host.name).lower()
        if not _NAME.fullmatch(name):
            flight.answer(host.id, no_output("not_started", f"{name!r} can't be the name of a minion."))
        elif name in seen:
            reason = f"The hosts {seen[name].name} and {host.name} have the same minion, {name}."
            flight.answer(host.id, no_output("not_started", reason))
        else:
            seen[name] = host
    return list(seen.values())


def _stop(road: Road, handle: str, host: Target, deadline: float, talks: Sequence[Talk]) -> Proof:
    """Stop it on one host, and say what was proved; *talks* may be about to begin it there."""
    with road.connect(host) as minion:
        try:
            said = call(minion, "omserver.cancel", [handle], max(0.1, deadline - time.monotonic()))
            return _proof(said, handle) if isinstance(said, dict) else "unknown"
        except (Denied, NoSuchMethod):
            pass
        except (CallFailed, MinionError) as error:
            log.warning("%s: cancel on %s: %s", handle, host.name, error)
            return "unknown"
        kept_from_it = [talk.call_off() for talk in talks]
        if talks and all(kept_from_it):
            return "not_started"
        try:
            seconds = max(0.1, deadline - time.monotonic())
            said = call(minion, "command.run", [old_minion.stop(old_minion.name_of(handle, host))], seconds)
        except (CallFailed, Denied, NoSuchMethod, MinionError) as error:
            log.warning("%s: cancel on %s: %s", handle, host.name, error)
            return "unknown"
    word = str(said[1]).strip() if isinstance(said, list) and len(said) == 3 else ""
    return _PROOFS.get(word, "unknown")


def _proof(said: dict[str, Any], handle: str) -> Proof:
    state, up = said.get("state"), said.get("up")
    if state == "cancelled":
        was_up = isinstance(up, int | float) and up > age_of(handle)
        return "not_started" if was_up else "unknown"
    return _PROOFS.get(str(state), "unknown")
