"""Reaches minions through a Salt master: the one on this machine, or, in api.py, one behind salt-api."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...contract.enginework import State
from ...contract.work import Answer, Put, Run, Script, Work
from ..base import Backend, ConnectionDown, Flight, FoundHost, Proof, Reachability, Target, no_output
from ..onhost import UnfitWork, pack
from ..options import Setting
from .bus import MaybeSent, SaltBus
from .job import is_recent, new_jid
from .local import LocalSaltBus
from .proof import LOOK, WORK
from .signed import SignedShell
from .state import as_script
from .watch import LOOK_SECONDS, NOT_RUNNING, RUNNING, Memory, Watch

log = logging.getLogger(__name__)

#: Seconds for the minions' answers to one question of ours.
ASK_SECONDS = 3.0
#: Seconds between two looks whether the next minions of a batch may begin, if nobody told us.
_TURN = 0.5
#: Seconds after which a cancel asks nothing more.
CANCEL_SECONDS = 13.0
_FACTS = ("os", "os_family", "osrelease", "ipv4", "id")

#: What the kinds salt and salt-api have in common.
COMMON_SETTINGS = (
    Setting(
        "batch",
        "At most so many minions of one dispatch are at work at a time; 0: all at once.",
        "一次派发中最多同时执行的 minion 数量；0 表示全部同时执行。",
        "number",
        default=0,
    ),
    Setting(
        "proof",
        "required: an answer counts only if the host signed it with its minion's key. off: no host signs.",
        "required：只有主机用其 minion 密钥签名的结果才算数。off：主机不签名。",
        "choice",
        default="required",
        choices=("required", "off"),
    ),
    Setting(
        "minion_key",
        "Where hosts keep the minion's private key, if not in /etc/salt/pki/minion/minion.pem.",
        "主机上 minion 私钥的路径（默认 /etc/salt/pki/minion/minion.pem）。",
        "path",
    ),
)


class SaltBackend(Backend):
    """One Salt master, on this machine."""

    kind = "salt"
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting(
            "config_dir",
            "The folder with Salt's master file, such as /etc/salt.",
            "Salt 的 master 配置文件所在的目录，例如 /etc/salt。",
            "path",
            required=True,
        ),
        *COMMON_SETTINGS,
    )
    WORKS: ClassVar[tuple[type[Work], ...]] = (Run, Script, Put, State)

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self._bus = self._make_bus()
        required = self.settings["proof"] == "required"
        self._shell = SignedShell(self._bus, required, self.settings["minion_key"] or "")
        self._watches: dict[int, Watch] = {}
        self._memory = Memory()

    def _make_bus(self) -> SaltBus:
        return LocalSaltBus(Path(self.settings["config_dir"]).expanduser())

    def probe(self) -> Reachability:
        """Knock at the master's own doors; no minion is asked."""
        reason = self._bus.why_down()
        return Reachability(not reason, reason)

    def just_answered(self) -> bool:
        """Whether the Salt master has done something for us a moment ago."""
        return self._bus.just_answered()

    def inventory(self, seconds: float) -> list[FoundHost]:
        """The minions whose key is accepted, with the facts of those that tell them within *seconds*."""
        deadline = time.monotonic() + seconds
        minions = self._bus.accepted()
        grains = self.grains(minions, max(0.5, deadline - time.monotonic())) if minions else {}
        return [_found(minion, grains.get(minion, {})) for minion in minions]

    def new_handle(self) -> str:
        """A Salt job id of our own."""
        return new_jid()

    def ping(self, minions: Sequence[str], seconds: float = ASK_SECONDS) -> set[str]:
        """Those of *minions* that answer within *seconds*.

        Raises:
            ConnectionDown: the Salt master is down.
        """
        return {
            minion for minion, said in self._ask("test.ping", [], minions, seconds).items() if said is True
        }

    def grains(self, minions: Sequence[str], seconds: float = ASK_SECONDS) -> dict[str, dict[str, Any]]:
        """The grains ``os``, ``os_family``, ``osrelease``, ``ipv4`` and ``id`` of the minions that answer.

        Raises:
            ConnectionDown: the Salt master is down.
        """
        answers = self._ask("grains.item", _FACTS, minions, seconds)
        return {minion: said for minion, said in answers.items() if isinstance(said, dict)}

    def close(self) -> None:
        """Stop listening."""
        self._bus.close()

    def _dispatch(self, flight: Flight) -> None:
        try:
            pack(_on_host(flight.work), flight.host_seconds)
        except UnfitWork as error:
            for host in flight.missing:
                flight.answer(host.id, no_output("not_started", str(error)))
            return
        watch = self._watch(flight)
        minions = list(watch.hosts)
        batch = int(self.settings["batch"]) or len(minions)
        self._send(watch, minions[:batch])
        if minions[batch:]:
            turns = threading.Thread(
                target=self._send_in_turn,
                args=(watch, minions[batch:], batch),
                name="salt-batch",
                daemon=True,
            )
            turns.start()

    def _watch(self, flight: Flight) -> Watch:
        """Begin to hear what comes back for *flight*."""
        hosts = self._one_each(flight)
        self._bus.learn_keys(hosts)
        watch = Watch(self._bus, self._shell, flight, hosts, self._memory)
        self._bus.listen(flight.handle, watch.hear)
        self._watches[id(flight)] = watch
        return watch

    def _send(self, watch: Watch, minions: list[str]) -> None:
        flight = watch.flight
        minions = watch.sent(minions)
        if not minions:
            return
        seconds = flight.host_seconds
        stdin = pack(_on_host(flight.work), seconds).decode("ascii")
        # The host ends the work itself; Salt's own limit is for the case that it could not.
        keywords = self._shell.keywords(flight.handle, WORK, stdin, seconds + 10)
        try:
            known = self._bus.publish(flight.handle, self._shell.FUNCTION, keywords, [], minions)
        except MaybeSent as error:
            watch.doubt = str(error)
            return
        for minion in minions:
            if minion not in known:
                reason = f"The Salt master has accepted no key of a minion named {minion}."
                flight.answer(watch.hosts[minion].id, no_output("unreachable", reason))

    def _send_in_turn(self, watch: Watch, waiting: list[str], batch: int) -> None:
        """Send to the next ones each time that others are ready, under the same job id."""
        while waiting and not watch.over and watch.flight.left > 1:
            watch.answered.wait(_TURN)
            watch.answered.clear()
            free = min(batch - watch.at_work, len(waiting))
            if free <= 0:
                continue
            now, waiting = waiting[:free], waiting[free:]
            try:
                self._send(watch, now)
            except ConnectionDown as down:
                for minion in now:
                    reason = f"Its turn came while the Salt master was down: {down}"
                    watch.flight.answer(watch.hosts[minion].id, no_output("not_started", reason))

    def _collect(self, flight: Flight) -> None:
        if reason := self._bus.why_down():
            raise ConnectionDown(reason)
        watch = self._watch(flight)
        cached = self._bus.cached(flight.handle, watch.hosts)
        watch.sent(watch.hosts)
        if cached is None:
            never_sent = no_output(
                "not_started", "The Salt master's job cache knows no such job: never sent."
            )
            if not is_recent(flight.handle, self._bus.surely_kept()):
                reason = "The Salt master's job cache knows no such job: it was never sent, or is not kept."
                never_sent = no_output("unknown", reason)
            for host in flight.missing:
                flight.answer(host.id, never_sent)
            return
        for minion, said in cached.items():
            watch.hear(minion, {"return": said})

    def _look(self, flight: Flight) -> None:
        watch = self._watches.get(id(flight))
        if watch is not None:
            watch.look()

    def _silent(self, flight: Flight, host: Target) -> Answer:
        watch = self._watches.get(id(flight))
        if watch is None:
            return super()._silent(flight, host)
        return watch.verdict(host)

    def _release(self, flight: Flight) -> None:
        watch = self._watches.pop(id(flight), None)
        if watch is not None:
            watch.close()
        if not any(other.flight.handle == flight.handle for other in list(self._watches.values())):
            self._bus.forget(flight.handle)

    def _one_each(self, flight: Flight) -> dict[str, Target]:
        """The hosts by minion id. A minion answers for one host only."""
        hosts: dict[str, Target] = {}
        for host in flight.missing:
            minion = host.remote_id or host.name
            if minion in hosts:
                reason = f"The hosts {hosts[minion].name} and {host.name} have the same minion id, {minion}."
                flight.answer(host.id, no_output("not_started", reason))
            else:
                hosts[minion] = host
        return hosts

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        named = {host.remote_id or host.name: host for host in hosts}
        # Held until the flight is over: what is cut off returns without an answer, now or a while later.
        watches = [watch for watch in list(self._watches.values()) if watch.flight.handle == handle]
        unsent = [watch.call_off(named) for watch in watches]
        never = set.intersection(*unsent) if unsent else set()
        proofs: dict[str, Proof] = {named[minion].id: "not_started" for minion in never}
        left = {minion: host for minion, host in named.items() if minion not in never}
        return {**proofs, **self._stop(handle, left)}

    def _stop(self, handle: str, hosts: Mapping[str, Target]) -> Mapping[str, Proof]:
        deadline = time.monotonic() + CANCEL_SECONDS
        # Only what a host signed proves anything: that it ran, and that it runs no more.
        running = self._running(handle, list(hosts), ASK_SECONDS)
        ran = {minion for minion, runs in running.items() if runs}
        left = [minion for minion in hosts if running.get(minion) is not False]
        order, heard = "saltutil.term_job", set(running)
        while left and (seconds := deadline - time.monotonic()) > 0:
            if order:
                heard |= set(self._ask(order, [handle], left, min(ASK_SECONDS, seconds)))
            now = self._running(handle, left, min(ASK_SECONDS, max(1.0, deadline - time.monotonic())))
            running |= now
            ran |= {minion for minion, runs in now.items() if runs}
            left = [minion for minion in left if now.get(minion) is not False]
            if not heard & set(left):
                break
            order = "saltutil.kill_job" if order == "saltutil.term_job" else ""
        return {host.id: _proof(minion in ran, running.get(minion)) for minion, host in hosts.items()}

    def _running(self, handle: str, minions: Sequence[str], seconds: float) -> dict[str, bool]:
        """Whether the job runs on *minions*; who does not say so with a proof is missing."""
        jid = new_jid()
        lines: dict[str, str] = {}

        def read(minion: str, said: Any) -> bool:
            line, _ = self._shell.believe(jid, minion, said)
            if line is not None:
                lines[minion] = line
            return line is not None

        self._bus.learn_keys(minions)
        keywords = self._shell.keywords(jid, LOOK, handle + "\n", LOOK_SECONDS)
        self._ask(self._shell.FUNCTION, [], minions, seconds, keywords, jid, read)
        return {minion: line == RUNNING for minion, line in lines.items() if line in (RUNNING, NOT_RUNNING)}

    def _ask(
        self,
        function: str,
        arguments: Sequence[str],
        minions: Sequence[str],
        seconds: float,
        keywords: Mapping[str, Any] | None = None,
        jid: str = "",
        believe: Callable[[str, Any], bool] = lambda minion, said: True,
    ) -> dict[str, Any]:
        """What the minions answer within *seconds*; the silent, and who is not believed, are missing."""
        answers: dict[str, Any] = {}
        complete = threading.Event()
        wanted = set(minions)
        jid = jid or new_jid()

        def hear(minion: str, content: Mapping[str, Any]) -> None:
            if minion in wanted and minion not in answers and believe(minion, content["return"]):
                answers[minion] = content["return"]
            if wanted <= set(answers):
                complete.set()

        if not wanted:
            return answers
        self._bus.listen(jid, hear)
        try:
            known = self._bus.publish(jid, function, keywords or {}, arguments, sorted(wanted))
            wanted &= known
            if wanted - set(answers):
                complete.wait(seconds)
        except MaybeSent as error:
            raise ConnectionDown(str(error)) from error
        finally:
            self._bus.forget(jid)
        return dict(answers)


def _proof(ran: bool, runs: bool | None) -> Proof:
    """What is proved of a job that was stopped: *ran*, and whether it *runs* now, as the host signed it."""
    if runs:
        return "still_running"
    return "stopped" if ran and runs is False else "unknown"


def _on_host(work: Work) -> Work:
    """The work as the shell on the host understands it."""
    return as_script(work) if isinstance(work, State) else work


def _found(minion: str, grains: Mapping[str, Any]) -> FoundHost:
    addresses = [str(one) for one in grains.get("ipv4") or () if isinstance(one, str)]
    outside = [one for one in addresses if not one.startswith("127.")]
    facts = {name: str(grains[name])[:200] for name in ("os", "os_family", "osrelease") if grains.get(name)}
    return FoundHost(minion, minion, (outside or addresses or [""])[0], facts)
