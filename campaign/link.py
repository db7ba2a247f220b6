"""The network between two parts, in the middle of which somebody sits who can spoil it.

A `Link` listens on a port of the loopback address and passes what it hears on to another. It lives in a
thread of the campaign's own process, which nobody kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import Any

from tests.ports import free_port

#: What a link can be.
STATES = {
    "open": "everything passes",
    "cut": "connections are reset, and new ones too",
    "slow": "everything passes in small pieces, and late",
    "silent": "nothing passes, nobody is told; what was said arrives when the link is open again",
    "deaf": "what is said arrives, the answers are lost",
}
#: A slow link: so many bytes at a time, so many seconds after each other.
PIECE, PAUSE = 1024, 0.05
_LINGER_NOT = struct.pack("ii", 1, 0)  # closing sends a reset at once


class Link:
    """To *port* of this machine, by way of its own ``port``."""

    def __init__(self, port: int) -> None:
        self.port, self._far = free_port(), port
        self._state = "open"
        self._changed = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self._thread.start()
        self._do(self._listen())

    def set(self, state: str) -> None:
        """Be one of `STATES` from now on. After having been deaf or cut, all connections are reset."""
        assert state in STATES, state
        self._do(self._set(state))

    def reset(self) -> None:
        """Reset all connections, once."""
        self._do(self._reset())

    def close(self) -> None:
        """End it with all of its connections."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)

    async def _set(self, state: str) -> None:
        before, self._state = self._state, state
        if state == "cut" or before == "deaf":
            await self._reset()
        self._changed.set()
        self._changed = asyncio.Event()

    async def _reset(self) -> None:
        for end in list(self._ends):
            _abort(end)

    async def _end(self) -> None:
        self._server.close()
        work = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            if self._state == "cut":
                raise ConnectionError("cut")
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._far)
        except OSError:
            _abort(near)
            return
        self._ends |= {near, far}
        try:
            there = self._pass(reader, far, answers=False)
            back = self._pass(far_reader, near, answers=True)
            with contextlib.suppress(asyncio.CancelledError, OSError):  # the link ends, or one of the sides
                await asyncio.gather(there, back)
        finally:
            self._ends -= {near, far}
            _abort(near)
            _abort(far)

    async def _pass(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, *, answers: bool) -> None:
        while said := await reader.read(64 * 1024):
            while self._state == "silent":
                await self._changed.wait()
            if self._state == "deaf" and answers:
                continue
            await self._say(to, said)
        to.write_eof()

    async def _say(self, to: asyncio.StreamWriter, said: bytes) -> None:
        while said and self._state == "slow":
            piece, said = said[:PIECE], said[PIECE:]
            await asyncio.sleep(PAUSE)
            to.write(piece)
            await to.drain()
        to.write(said)
        await to.drain()


def _abort(end: asyncio.StreamWriter) -> None:
    sock = end.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    end.transport.abort()
