"""Reaches hosts by plain ssh; nothing but a shell is needed there.

All connections live in one event loop, in a thread of its own. What is sent carries a handle, so that it
outlives its connection and can be found again on its host (see ``onhost.py``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from ...contract.work import Answer
from .. import onhost
from ..base import (
    Backend,
    ConnectionDown,
    Flight,
    FoundHost,
    NoOutput,
    Proof,
    Reachability,
    Target,
    no_output,
)
from ..onhost import UnfitWork, handle_for, most_bytes, unpack, unpack_stop
from .lines import Lines, Lost, Said
from .reasons import NotReached
from .settings import SETTINGS, SettingsError, Site, Way

log = logging.getLogger(__name__)

#: Seconds after which an answer that was handed over is taken for stored, and is forgotten on its host.
STORED = 10.0
#: Answers of one host that are forgotten at once at the most; what is older is swept by the host itself.
_MOST_SPENT = 50
#: Seconds for a cancel.
_CANCEL = 13.0
#: Seconds before the deadline by which we give up asking a host.
_MARGIN = 0.3


class Errand:
    """What was to be done on one host for one flight, and how far it came."""

    def __init__(self, flight: Flight, host: Target, sent: bool = False) -> None:
        self.flight = flight
        self.host = host
        self.handle = handle_for(flight.handle, host.id)
        self.problem = "It was sent before a restart." if sent else "it waited for its turn"
        self._lock = threading.Lock()
        #: Never False again: that it was not sent is a proof, on which others send it elsewhere.
        self._sent = sent
        self._called_off = False

    def may_send(self) -> bool:
        """Whether it may be sent now; if so, it counts as sent."""
        with self._lock:
            if self._called_off or self.flight.left <= 0:
                return False
            self._sent = True
            self.flight.reached(self.host.id, "it was sent over ssh")
            return True

    def call_off(self) -> bool:
        """Never send it; whether it was not sent before."""
        with self._lock:
            self._called_off = True
            return not self._sent


class SshBackend(Backend):
    """Plain ssh: a host's address is what we connect to, or else its remote id or name."""

    kind = "ssh"
    SETTINGS = SETTINGS

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self.site = Site(self.settings)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lines: Lines | None = None
        self._errands: dict[tuple[Flight, str], Errand] = {}
        #: Per host: when which handle's answer was handed over.
        self._spent: dict[Way, list[tuple[float, str]]] = {}

    def new_handle(self) -> str:
        """A handle that tells when it was made."""
        return onhost.new_handle()

    def probe(self) -> Reachability:
        """Up when the files of the settings can be used and the jump hosts, if any, let us in."""
        try:
            self._check(2.0)
        except ConnectionDown as down:
            return Reachability(False, str(down))
        return Reachability(True)

    def inventory(self, seconds: float) -> list[FoundHost]:
        """The hosts that the ssh_config file of the settings names."""
        try:
            return self.site.inventory()
        except SettingsError as error:
            raise ConnectionDown(str(error)) from error

    def close(self) -> None:
        """Close all connections and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        with contextlib.suppress(concurrent.futures.TimeoutError):
            asyncio.run_coroutine_threadsafe(self._shut(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)

    def _dispatch(self, flight: Flight) -> None:
        self._check(float(self.settings["connect_timeout"]))
        try:
            onhost.head(flight.work, flight.host_seconds)
        except UnfitWork as error:
            for host in flight.missing:
                flight.answer(host.id, no_output("not_started", str(error)))
            return
        rest = onhost.shared(flight.work)
        self._each(flight, lambda errand: self._do(errand, rest))

    def _collect(self, flight: Flight) -> None:
        self._check(float(self.settings["connect_timeout"]))
        self._each(flight, lambda errand: self._regain(errand, "It was sent before a restart"), sent=True)

    def _cancel(self, handle: str, hosts: Sequence[Target]) -> Mapping[str, Proof]:
        with self._lock:
            errands = {
                errand.host.id: errand
                for (flight, _), errand in self._errands.items()
                if flight.handle == handle
            }
        proofs: dict[str, Proof] = {}
        unsent = [host for host in hosts if host.id in errands and errands[host.id].call_off()]
        proofs.update((host.id, "not_started") for host in unsent)

        async def stop_all() -> None:
            others = [host for host in hosts if host.id not in proofs]
            await asyncio.gather(*(stop_one(host) for host in others))

        async def stop_one(host: Target) -> None:
            own = handle_for(handle, host.id)
            with contextlib.suppress(NotReached, Lost, SettingsError, TimeoutError):
                said = await asyncio.wait_for(self._talk(host, onhost.stop(own), 100), _CANCEL)
                proofs[host.id] = unpack_stop(bytes(said.out), own)

        with contextlib.suppress(concurrent.futures.TimeoutError):
            self._begin(stop_all()).result(_CANCEL + 1)
        return dict(proofs)

    def _silent(self, flight: Flight, host: Target) -> Answer:
        with self._lock:
            errand = self._errands.get((flight, host.id))
        if errand is None:
            return super()._silent(flight, host)
        if errand.call_off():
            state: NoOutput = "not_started" if errand.problem.startswith("it waited") else "unreachable"
            return no_output(state, f"Nothing was sent by the deadline: {errand.problem}")
        return no_output("unknown", errand.problem)

    def _release(self, flight: Flight) -> None:
        with self._lock:
            mine = [key for key in self._errands if key[0] is flight]
            errands = [self._errands.pop(key) for key in mine]
        for errand in errands:
            errand.call_off()

    def _check(self, seconds: float) -> None:
        try:
            self.site.check()
        except SettingsError as error:
            raise ConnectionDown(str(error)) from error
        if not self.settings["jump"]:
            return
        future = self._begin(self._jump())
        try:
            future.result(seconds)
        except NotReached as error:
            raise ConnectionDown(str(error)) from error
        except concurrent.futures.TimeoutError:
            raise ConnectionDown(f"The jump host does not answer within {seconds:g} s.") from None

    async def _jump(self) -> None:
        assert self._lines is not None
        await self._lines.jump(self.settings["jump"])

    def _each(self, flight: Flight, do: Any, sent: bool = False) -> None:
        errands = [Errand(flight, host, sent) for host in flight.missing]
        with self._lock:
            self._errands.update(((flight, errand.host.id), errand) for errand in errands)
        self._begin(self._all(flight, [do(errand) for errand in errands]))

    async def _all(self, flight: Flight, tasks: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Do them at once; a moment after the deadline none of them is left."""
        futures = [asyncio.ensure_future(task) for task in tasks]
        done, late = await asyncio.wait(futures, timeout=flight.left + 1)
        for task in late:
            task.cancel()
        for task in done:
            if not task.cancelled() and (error := task.exception()):
                log.error("%s: %s: a host was given up", self.name, flight.handle, exc_info=error)

    async def _do(self, errand: Errand, rest: bytes) -> None:
        """Send the work to one host, and bring its answer or the reason why there is none."""
        flight, host = errand.flight, errand.host
        assert self._lines is not None
        async with self._lines.room:
            errand.problem = f"there was no connection to {host.address or host.remote_id or host.name} yet."
            try:
                way = self.site.way(host)
                said = await self._send(errand, way, rest)
            except (NotReached, SettingsError) as error:
                errand.problem = str(error)
                if errand.call_off():
                    flight.answer(host.id, no_output("unreachable", str(error)))
                return
            except Lost as lost:
                reason = f"The connection was lost after it was sent ({lost})"
            else:
                self._tell(errand, way, said)
                return
        await self._regain(errand, reason)

    async def _send(self, errand: Errand, way: Way, rest: bytes) -> Said:
        """Send it over an open connection; if that is of no use, over a new one."""
        assert self._lines is not None
        flight = errand.flight
        forget = self._to_forget(way)
        most = most_bytes(flight.work)
        old = False
        for fresh in (False, True):
            try:
                async with self._lines.line(way, fresh) as line:
                    old = line.used < time.monotonic() - 0.1 or line.sessions > 1
                    head = onhost.head(flight.work, flight.host_seconds, errand.handle, forget)
                    return await self._lines.converse(line, (head, rest), most, errand.may_send)
            except NotReached:
                if fresh or not old or flight.left <= 0:
                    raise
        raise AssertionError("unreachable")

    async def _regain(self, errand: Errand, reason: str) -> None:
        """Ask the host, as often as it takes, what became of what was sent."""
        flight, host = errand.flight, errand.host
        # No longer evidence that it runs: at the deadline it is unknown, not timed out.
        flight.reached(host.id, "")
        errand.problem = f"{reason}."
        pause = 0.2
        while flight.left > _MARGIN:
            try:
                way = self.site.way(host)
                question = onhost.ask(errand.handle, flight.left - _MARGIN)
                said = await self._talk(host, question, most_bytes(flight.work))
            except (NotReached, Lost, SettingsError) as error:
                errand.problem = f"{reason}, and the host can't be asked: {error}"
            else:
                if said.out.strip() == b"om1-running":
                    flight.reached(host.id, "it runs on the host")
                else:
                    self._tell(errand, way, said, f"{reason}. ")
                    return
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)

    async def _talk(self, host: Target, stdin: bytes, most: int) -> Said:
        assert self._lines is not None
        way = self.site.way(host)
        try:
            async with self._lines.line(way) as line:
                return await self._lines.converse(line, (stdin,), most, lambda: True)
        except NotReached:
            async with self._lines.line(way, fresh=True) as line:
                return await self._lines.converse(line, (stdin,), most, lambda: True)

    def _tell(self, errand: Errand, way: Way, said: Said, before: str = "") -> None:
        flight = errand.flight
        answer = unpack(bytes(said.out), flight.work, errand.handle)
        if not said.out:
            words = bytes(said.errors).decode("utf-8", "replace").strip()[:200]
            plain = "".join(letter if letter.isprintable() else " " for letter in words)
            state: NoOutput = "not_started" if plain.startswith("sudo:") else "unknown"
            answer = no_output(state, f"The host ended it without an answer ({plain or 'and said nothing'}).")
        if answer.state == "unknown":
            answer = no_output("unknown", before + answer.reason)
        flight.answer(errand.host.id, answer)
        if answer.state in ("done", "timed_out"):
            with self._lock:
                spent = self._spent.setdefault(way, [])
                spent.append((time.monotonic(), errand.handle))
                del spent[:-_MOST_SPENT]

    def _to_forget(self, way: Way) -> list[str]:
        """The handles whose answers are stored with us by now; they are given once."""
        before = time.monotonic() - STORED
        with self._lock:
            spent = self._spent.get(way, [])
            old = [handle for moment, handle in spent if moment < before]
            left = [one for one in spent if one[0] >= before]
            if left:
                self._spent[way] = left
            else:
                self._spent.pop(way, None)
        return old

    def _last_wish(self, way: Way) -> bytes:
        old = self._to_forget(way)
        return onhost.forget(old) if old else b""

    def _begin(self, task: Coroutine[Any, Any, None]) -> concurrent.futures.Future[None]:
        """Start *task* in the loop, which is started when first needed."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._lines = Lines(self.site, self._last_wish)
                name = f"ssh {self.name}"
                threading.Thread(target=_turn, args=(self._loop,), name=name, daemon=True).start()
                asyncio.run_coroutine_threadsafe(self._lines.tend(), self._loop)
            return asyncio.run_coroutine_threadsafe(task, self._loop)

    async def _shut(self) -> None:
        assert self._lines is not None
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await self._lines.close()


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
