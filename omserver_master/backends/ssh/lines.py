"""Open ssh connections: made once, shared by dispatches, closed when nobody has used them for a while.

All of it runs in one event loop; nothing here is for other threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import logging
import resource
import shlex
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from ..onhost import COMMAND
from .reasons import NotReached, why, why_unknown
from .settings import SettingsError, Site, Way

# It tells of every connection, key and session.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

#: Handshakes at once: they need our processor, and more of them at once only makes all of them slow.
_HANDSHAKES = 64
#: Hosts that are called at once; behind one gate or sshd, more of them lose their calls (it queues 128).
_CALLS = 100
#: Seconds after which a host that was called is waited for aside.
_SLOW = 2.0
#: Seconds that a handshake may take once the host has spoken; sshd itself gives up after 120.
_LOGIN = 30.0
#: Seconds until a connection that was not used for a while has to open a session.
_STALE = 5.0
#: Sessions on one connection; sshd allows 10 if nothing else is said.
_SESSIONS = 8
#: Connections that stay open unused.
_MOST_KEPT = 250
_CHUNK = 64 * 1024
#: How often a host that hangs up before the login is tried (too many at once, says sshd's MaxStartups so).
_TRIES = 3


@dataclass(eq=False)
class Line:
    """One open connection."""

    way: Way
    connection: asyncssh.SSHClientConnection
    sessions: int = 0
    used: float = field(default_factory=time.monotonic)


class Lost(Exception):
    """A session ended without a whole answer, because the connection did."""


class Said(asyncssh.SSHClientSession[bytes]):
    """One session of ``COMMAND``: what it says is kept, up to *most* bytes."""

    def __init__(self, most: int) -> None:
        self.out = bytearray()
        self.errors = bytearray()
        self.status: int | None = None
        self.lost: Exception | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._most = most
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._chan = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self.errors += data[: 1000 - len(self.errors)]
            return
        self.out += data[: self._most + 1 - len(self.out)]
        if len(self.out) > self._most and self._chan is not None:
            self._chan.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.status = -1

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        self._writable.set()
        if not self.over.done():
            self.over.set_result(None)

    def hang_up(self) -> None:
        """Close the session, if it is still open; what runs on the host goes on."""
        if not self.over.done() and self._chan is not None:
            self._chan.close()

    async def feed(self, stdin: Sequence[bytes]) -> None:
        """Write it all, as fast as the host takes it, and end the input."""
        assert self._chan is not None
        chunks = [(memoryview(part), start) for part in stdin for start in range(0, len(part), _CHUNK)]
        for view, start in chunks:
            await self._writable.wait()  # whoever talks to a host has a deadline for all of it
            if self.over.done():
                return
            self._chan.write(bytes(view[start : start + _CHUNK]))
        self._chan.write_eof()


class Lines:
    """The open connections of one site."""

    def __init__(self, site: Site, last_wish: Callable[[Way], bytes]) -> None:
        """*last_wish* is the standard input of a last ``COMMAND`` before a connection is closed, or empty."""
        self.site = site
        self._last_wish = last_wish
        self._open: dict[Way, list[Line]] = {}
        self._calls = asyncio.Semaphore(_CALLS)
        self._handshakes = asyncio.Semaphore(_HANDSHAKES)
        self._jumps: dict[str, asyncio.Lock] = {}
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        most = min(int(site.settings["most_at_once"]) or 1, max(16, soft - 200))
        #: Held by who works on a host.
        self.room = asyncio.Semaphore(most)
        sudo = ("sudo", "-n") if site.settings["sudo"] else ()
        self._command = shlex.join((*sudo, *COMMAND))

    @contextlib.asynccontextmanager
    async def line(self, way: Way, fresh: bool = False) -> AsyncIterator[Line]:
        """A connection to a host, an open one if there is one and it need not be *fresh*.

        Raises:
            NotReached: there is none to be had, and why.
        """
        line = (None if fresh else self._free(way)) or await self._connect(way)
        line.sessions += 1
        try:
            yield line
        finally:
            line.sessions -= 1
            line.used = time.monotonic()
            if line.connection.is_closed():
                self._drop(line)

    async def session(self, line: Line, most: int) -> Said:
        """Start ``COMMAND``. It does nothing before it has got its standard input.

        Raises:
            NotReached: it was not started.
        """
        seconds = _LOGIN if line.used > time.monotonic() - 1 else _STALE
        try:
            made = line.connection.create_session(lambda: Said(most), self._command, encoding=None)
            _, session = await asyncio.wait_for(made, seconds)
        except TimeoutError:
            self._drop(line)
            raise NotReached(f"{line.way} does not answer any more.") from None
        except (asyncssh.Error, OSError) as error:
            if not isinstance(error, asyncssh.ChannelOpenError) or line.connection.is_closed():
                self._drop(line)
            raise NotReached(why(error, self.site, line.way)) from error
        assert isinstance(session, Said)
        return session

    async def converse(self, line: Line, stdin: Sequence[bytes], most: int, sent: Callable[[], bool]) -> Said:
        """Run ``COMMAND`` to its end; *sent* is asked once, right before something is sent, if that may be.

        Raises:
            NotReached: it was not started.
            Lost: it was sent, and what became of it is not known.
        """
        session = await self.session(line, most)
        try:
            if not sent():
                raise NotReached("It was called off before it was sent.")
            await session.feed(stdin)
            await session.over
        finally:
            session.hang_up()
        if session.status is None and len(session.out) <= most:
            reason = session.lost or "it was closed"
            raise Lost(str(reason))
        return session

    async def tend(self) -> None:
        """Close, for ever, what was not used for a while."""
        while True:
            await asyncio.sleep(1)
            jumps = {self._hop(way.jump) for way in self._open if way.jump}
            lines = [line for lines in self._open.values() for line in lines]
            unused = [line for line in lines if not line.sessions and line.way not in jumps]
            unused.sort(key=lambda line: line.used)
            limit = time.monotonic() - float(self.site.settings["keep"])
            for number, line in enumerate(unused):
                if line.used < limit or len(unused) - number > _MOST_KEPT:
                    self._drop(line, close=False)
                    asyncio.ensure_future(self._hang_up(line))  # noqa: RUF006 -- it ends by itself, in time

    async def close(self) -> None:
        """Close everything, with a last word where that is quick."""
        lines = [line for lines in self._open.values() for line in lines]
        self._open.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*map(self._hang_up, lines), return_exceptions=True), 3)
        for line in lines:
            line.connection.abort()

    async def _hang_up(self, line: Line) -> None:
        wish = self._last_wish(line.way)
        if wish and not line.connection.is_closed():
            with contextlib.suppress(NotReached, Lost, TimeoutError):
                await asyncio.wait_for(self.converse(line, (wish,), 100, lambda: True), _STALE)
        line.connection.close()

    def _free(self, way: Way) -> Line | None:
        for line in self._open.get(way, ()):
            if line.sessions < _SESSIONS and not line.connection.is_closed():
                return line
        return None

    def _drop(self, line: Line, close: bool = True) -> None:
        lines = self._open.get(line.way, [])
        if line in lines:
            lines.remove(line)
        if not lines:
            self._open.pop(line.way, None)
        if close:
            line.connection.abort()

    def _hop(self, chain: str) -> Way:
        """The last host of a jump chain, reached through the others."""
        before, _, last = chain.rpartition(",")
        hop = self.site.hop(last.strip())
        return dataclasses.replace(hop, jump=before)

    async def _connect(self, way: Way) -> Line:
        try:
            tunnel = await self.jump(way.jump)
            known = self.site.keys_of(way)
            if not (known[0] or known[1]):
                raise NotReached(why_unknown(self.site, way))
            connection = await self._login(way, tunnel)
        except (asyncssh.Error, OSError, SettingsError) as error:
            raise NotReached(why(error, self.site, way)) from error
        line = Line(way, connection)
        self._open.setdefault(way, []).append(line)
        return line

    async def jump(self, chain: str) -> asyncssh.SSHClientConnection | None:
        """The connection to the last host of a jump chain, opened if need be.

        Raises:
            NotReached: one of them cannot be reached.
        """
        if not chain:
            return None
        try:
            hop = self._hop(chain)
        except SettingsError as error:
            raise NotReached(str(error)) from error
        async with self._jumps.setdefault(chain, asyncio.Lock()):
            lines = self._open.get(hop, ())
            open_line = next((line for line in lines if not line.connection.is_closed()), None)
            if open_line is None:
                try:
                    open_line = await self._connect(hop)
                except NotReached as error:
                    raise NotReached(f"The jump host: {error}") from error
            open_line.used = time.monotonic()
            return open_line.connection

    async def _login(self, way: Way, tunnel: Any) -> asyncssh.SSHClientConnection:
        options = self.site.options(way)
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._login_once(way, tunnel, options)
            except (asyncssh.ConnectionLost, ConnectionResetError):
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(0.4 * attempt)
        raise AssertionError("unreachable")

    async def _login_once(
        self, way: Way, tunnel: Any, options: dict[str, Any]
    ) -> asyncssh.SSHClientConnection:
        patience = float(self.site.settings["connect_timeout"])
        if tunnel is not None:
            async with self._handshakes:
                made = asyncssh.connect(way.host, way.port, tunnel=tunnel, **options)
                return await asyncio.wait_for(made, patience + _LOGIN)
        sock = await self._called(way, patience)
        try:
            async with self._handshakes:
                made = asyncssh.connect(way.host, way.port, sock=sock, **options)
                return await asyncio.wait_for(made, _LOGIN)
        except BaseException:
            sock.close()
            raise

    async def _called(self, way: Way, patience: float) -> socket.socket:
        """A socket to a host that has spoken; who is slow makes room for the others to be called."""
        async with self._calls:
            call = asyncio.ensure_future(asyncio.wait_for(_call(way), patience))
            try:
                await asyncio.wait([call], timeout=_SLOW)
            except asyncio.CancelledError:
                call.cancel()
                raise
        return await call


async def _call(way: Way) -> socket.socket:
    """A socket to a host that has begun to speak: only then is our processor spent on it."""
    loop = asyncio.get_running_loop()
    error: OSError = ConnectionRefusedError()
    for family, kind, protocol, _, address in await _addresses(way):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
            await _readable(sock)
        except OSError as failed:
            sock.close()
            error = failed
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error


async def _addresses(way: Way) -> Sequence[Any]:
    with contextlib.suppress(ValueError):
        # A thread for each of a thousand addresses would take longer than all the rest.
        version = ipaddress.ip_address(way.host).version
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 0, "", (way.host, way.port))]
    return await asyncio.get_running_loop().getaddrinfo(way.host, way.port, type=socket.SOCK_STREAM)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    heard = loop.create_future()

    def hear() -> None:
        if not heard.done():
            heard.set_result(None)

    loop.add_reader(sock, hear)
    try:
        await heard
    finally:
        loop.remove_reader(sock)
