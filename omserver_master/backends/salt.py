"""Reaches minions through the Salt master on this machine, in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract.work import Answer
from .base import Backend, ConnectionDown, Flight, Proof, Reachability, Target, no_output
from .onhost import COMMAND, UnfitWork, pack
from .saltbus import MaybeSent, SaltBus
from .saltjob import has_ended, is_recent, new_jid, read_return
from .saltwatch import Watch

log = logging.getLogger(__name__)

#: Seconds for the minions' answers to one question of ours.
ASK_SECONDS = 3.0


class SaltBackend(Backend):
    """One Salt master. Settings: ``config_dir``, the folder with its ``master`` file."""

    kind = "salt"

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        if not isinstance(settings.get("config_dir"), str):
            raise ValueError(f"Connection {name}: config_dir must be the folder with Salt's master file.")
        self._bus = SaltBus(Path(settings["config_dir"]))
        self._watches: dict[int, Watch] = {}
        self._cancelling: set[str] = set()

    def probe(self) -> Reachability:
        """Knock at the master's own doors; no minion is asked."""
        reason = self._bus.why_down()
        return Reachability(not reason, reason)

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
        """The grains ``os``, ``os_family``, ``osrelease`` and ``ipv4`` of the minions that answer.

        Raises:
            ConnectionDown: the Salt master is down.
        """
        wanted = ["os", "os_family", "osrelease", "ipv4"]
        answers = self._ask("grains.item", wanted, minions, seconds)
        return {minion: said for minion, said in answers.items() if isinstance(said, dict)}

    def close(self) -> None:
        """Stop listening."""
        self._bus.close()

    def _dispatch(self, flight: Flight) -> None:
        try:
            stdin = pack(flight.work, flight.host_seconds).decode("ascii")
        except UnfitWork as error:
            for host in flight.missing:
                flight.answer(host.id, no_output("not_started", str(error)))
            return
        hosts = self._one_each(flight)
        self._bus.listen(flight.handle, self._listener(flight, hosts))
        keywords = {
            "cmd": list(COMMAND),
            "stdin": stdin,
            "python_shell": False,
            "output_loglevel": "quiet",
            "ignore_retcode": True,
            "reset_system_locale": False,
            # The host ends the work itself; this is for the case that it could not.
            "timeout": flight.host_seconds + 10,
        }
        watch = self._watches[id(flight)] = Watch(self._bus, flight, hosts)
        try:
            known = self._bus.publish(flight.handle, "cmd.run_all", keywords, [], list(hosts))
        except MaybeSent as error:
            watch.doubt = str(error)
            return
        for minion, host in hosts.items():
            if minion not in known:
                reason = f"The Salt master has accepted no key of a minion named {minion}."
                flight.answer(host.id, no_output("unreachable", reason))

    def _collect(self, flight: Flight) -> None:
        if reason := self._bus.why_down():
            raise ConnectionDown(reason)
        hosts = self._one_each(flight)
        self._bus.listen(flight.handle, self._listener(flight, hosts))
        self._watches[id(flight)] = Watch(self._bus, flight, hosts)
        cached = self._bus.cached(flight.handle, hosts)
        if cached is None:
            reason = "The Salt master's job cache knows no such job: it was never sent, or long ago."
            for host in flight.missing:
                flight.answer(
                    host.id, no_output("not_started" if is_recent(flight.handle) else "unknown", reason)
                )
            return
        for minion, said in cached.items():
            flight.answer(hosts[minion].id, read_return(said, flight.work))

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
            self._cancelling.discard(flight.handle)

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

    def _listener(
        self, flight: Flight, hosts: Mapping[str, Target]
    ) -> Callable[[str, Mapping[str, Any]], None]:
        def hear(minion: str, content: Mapping[str, Any]) -> None:
            host = hosts.get(minion)
            if host is None:
                log.warning("%s: minion %r answered and was never asked; dropped", flight.handle, minion)
            elif flight.handle in self._cancelling and not has_ended(content.get("return")):
                flight.answer(host.id, no_output("unknown", "Stopped: the job was cancelled."))
            else:
                flight.answer(host.id, read_return(content.get("return"), flight.work))

        return hear

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        # Held until the flight is over: what is cut off returns without an answer, now or a while later.
        if any(watch.flight.handle == handle for watch in list(self._watches.values())):
            self._cancelling.add(handle)
        return self._stop(handle, {host.remote_id or host.name: host for host in hosts})

    def _stop(self, handle: str, hosts: Mapping[str, Target]) -> Mapping[str, Proof]:
        proofs: dict[str, Proof] = {host.id: "unknown" for host in hosts.values()}
        signalled: set[str] = set()
        left = list(hosts)
        for function in ("saltutil.term_job", "saltutil.kill_job"):
            said = self._ask(function, [handle], left, ASK_SECONDS)
            # No words: it runs no such job. Anything else: it does, and was sent the signal.
            signalled |= {minion for minion, words in said.items() if words}
            for _ in range(2):
                found = self._ask("saltutil.find_job", [handle], [m for m in left if m in said], ASK_SECONDS)
                for minion, job in found.items():
                    if job:
                        proofs[hosts[minion].id] = "still_running"
                    else:
                        proofs[hosts[minion].id] = "stopped" if minion in signalled else "unknown"
                left = [minion for minion in left if found.get(minion)]
                if not left:
                    return proofs
        return proofs

    def _ask(
        self, function: str, arguments: Sequence[str], minions: Sequence[str], seconds: float
    ) -> dict[str, Any]:
        """What the minions answer within *seconds*; the silent ones are missing."""
        answers: dict[str, Any] = {}
        complete = threading.Event()
        wanted = set(minions)

        def hear(minion: str, content: Mapping[str, Any]) -> None:
            if minion in wanted:
                answers.setdefault(minion, content["return"])
            if wanted <= set(answers):
                complete.set()

        if not wanted:
            return answers
        jid = new_jid()
        self._bus.listen(jid, hear)
        try:
            known = self._bus.publish(jid, function, {}, arguments, sorted(wanted))
            wanted &= known
            if wanted - set(answers):
                complete.wait(seconds)
        except MaybeSent as error:
            raise ConnectionDown(str(error)) from error
        finally:
            self._bus.forget(jid)
        return dict(answers)
