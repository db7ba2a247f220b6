"""The check from outside that a host is well after its work: an HTTP address or a TCP port of its own.

It knows one thing to ask for, once per second, until it was answered well so many times in a row, or the time
is over. Redirections are not followed and no proxy is used: what is asked is the host and no other machine.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from omserver_master.contract.rollout import VERIFY_DEFAULTS

from .board import JobHost

#: Seconds between two tries, and for one.
EVERY = 1.0
ONE_TRY = 5.0
#: Hosts that are tried at once; and those of them that did not answer their last try. The others need not
#: wait for them: each has to answer often enough within its time.
AT_ONCE = 200
SILENT_AT_ONCE = 50
_SILENT = "no answer in time"
#: Bytes of an answer's first line.
_LINE = 4096


@dataclass(frozen=True)
class Verified:
    """What became of a host's check; *why_not* is "" where it is well."""

    host_id: int
    why_not: str


class Checker:
    """Checks hosts in a thread of its own, each within a fixed time.

    Args:
        options: of the roll-out, with ``verify``.
        tell: gets a :class:`Verified` for each host.
    """

    def __init__(self, options: Mapping[str, Any], tell: Callable[[Verified], None]) -> None:
        limits = {**VERIFY_DEFAULTS, **options}
        self._what: str = options["verify"]
        self._times: int = limits["verify_times"]
        self._within: int = limits["verify_within"]
        self._expect: int = limits["expect"]
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Semaphore(AT_ONCE - SILENT_AT_ONCE)
        self._room_for_silent = asyncio.Semaphore(SILENT_AT_ONCE)
        self._tls = ssl.create_default_context() if self._what.startswith("https:") else None

    @classmethod
    def of(cls, options: Mapping[str, Any] | None, tell: Callable[[Verified], None]) -> Checker | None:
        """The checker that *options* ask for, if they do."""
        return cls(options, tell) if options and options.get("verify") else None

    def check(self, host: JobHost) -> None:
        """Begin to check *host*; from one thread only."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_turn, args=(self._loop,), name="verify", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._check(host), self._loop)

    def close(self) -> None:
        """Check no more; who was not done is not told of."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    async def _check(self, host: JobHost) -> None:
        self._tell(Verified(host.id, await self._why_not(host)))

    async def _why_not(self, host: JobHost) -> str:
        """The host's time begins with its first try, for which it may have to wait."""
        loop = asyncio.get_running_loop()
        await self._room.acquire()
        end = loop.time() + self._within
        last, well, room = "it was not tried", 0, self._room
        while True:
            try:
                last = await self._tried(host, end - loop.time())
            finally:
                room.release()
            well = 0 if last else well + 1
            if well >= self._times:
                return ""
            await asyncio.sleep(min(EVERY, max(0.0, end - loop.time())))
            room = self._room_for_silent if last == _SILENT else self._room
            if not await _entered(room, end - loop.time()):
                break
        last = last or f"it answered well only {well} times in a row"
        return f"Not verified within {self._within} s: {self._address(host)}: {last}"

    async def _tried(self, host: JobHost, left: float) -> str:
        """What is wrong with the host's answer, within *left* seconds; "" if nothing."""
        try:
            async with asyncio.timeout(min(left, ONE_TRY)):
                return await self._try(host)
        except TimeoutError:
            return _SILENT
        except OSError as error:
            return self._not_reached(host, error)
        except ValueError as error:
            return str(error)

    async def _try(self, host: JobHost) -> str:
        """What is wrong with the host's answer; "" if nothing."""
        address = urlsplit(self._address(host))
        reader, writer = await asyncio.open_connection(address.hostname, _port(address), ssl=self._tls)
        try:
            if address.scheme == "tcp":
                return ""
            writer.write(_request(address))
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return self._judge(line[:_LINE].decode("ascii", "replace"))

    def _not_reached(self, host: JobHost, error: OSError) -> str:
        if isinstance(error, ConnectionRefusedError):
            address = urlsplit(self._address(host))
            return f"nobody listens at {address.hostname}, port {_port(address)}"
        # Of a connection that failed, asyncio's own words repeat the address.
        if error.errno is not None and "Connect call failed" in str(error):
            return os.strerror(error.errno)
        return str(error)

    def _judge(self, line: str) -> str:
        words = line.split()
        if len(words) < 2 or not words[0].startswith("HTTP/"):
            return "its answer is not HTTP"
        return "" if words[1] == str(self._expect) else f"it answered {words[1]}, not {self._expect}"

    def _address(self, host: JobHost) -> str:
        ip = f"[{host.ip}]" if ":" in host.ip else host.ip
        if self._what.startswith("tcp:"):
            return f"tcp://{ip or host.name}:{self._what[4:]}"
        return self._what.replace("{ip}", ip or host.name, 1).replace("{name}", host.name, 1)


async def _entered(room: asyncio.Semaphore, seconds: float) -> bool:
    """Whether there was room within *seconds*."""
    if seconds <= 0:
        return False
    try:
        async with asyncio.timeout(seconds):
            return await room.acquire()
    except TimeoutError:
        return False


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """Run *loop* until it is stopped, and leave nothing of it behind."""
    with closing(loop):
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=ONE_TRY))


def _port(address: SplitResult) -> int:
    return address.port or (443 if address.scheme == "https" else 80)


def _request(address: SplitResult) -> bytes:
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    lines = [f"GET {path} HTTP/1.1", f"Host: {address.netloc}", "User-Agent: OMServer", "Accept: */*"]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("ascii", "replace")
