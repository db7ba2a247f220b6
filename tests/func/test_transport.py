"""A connection that is closed from another thread: the call under way ends, and nobody's file is touched."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from omserver_func import transport
from omserver_func.errors import CallFailed
from omserver_func.tls import client_context
from omserver_func.transport import MinionConnection

from .site import FuncSite

MINION = "127.0.0.1"


@pytest.fixture
def minion(tmp_path: Path) -> Iterator[MinionConnection]:
    site = FuncSite(tmp_path)
    site.start(MINION)
    site.grant(MINION, f"{site.caller_key('us')} = *")
    with MinionConnection(MINION, client_context(site.identity("us", "caller")), site.port) as connection:
        yield connection
    site.stop()


@pytest.mark.parametrize("close", [MinionConnection.close, MinionConnection.hang_up])
def test_who_hangs_up_leaves_the_number_to_the_call_that_reads_under_it(
    minion: MinionConnection, close: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS knows the number only: it would read, or write, whatever file has it by then."""
    assert minion.call("test.add", [1, 2], seconds=20) == 3
    sock: Any = minion._sock
    number = sock.fileno()
    reads, goes_on = threading.Event(), threading.Event()
    honest = transport._Timed.readinto

    def readinto(timed: Any, buffer: Any) -> int:
        reads.set()
        assert goes_on.wait(20)
        return honest(timed, buffer)

    monkeypatch.setattr(transport._Timed, "readinto", readinto)
    with ThreadPoolExecutor(1) as other:
        call = other.submit(minion.call, "test.add", [1, 2], seconds=20)
        assert reads.wait(20)
        close(minion)
        still = sock.fileno(), sock.version()
        with socket.socket() as another:
            assert another.fileno() != number
        goes_on.set()
        with contextlib.suppress(CallFailed):  # unless the answer was there already
            assert call.result(20) == 3
    assert still == (number, "TLSv1.3"), "nothing is sent in clear either"
    assert sock.fileno() == -1


def test_a_call_that_was_answered_when_it_was_closed_ends_the_connection(
    minion: MinionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = MinionConnection._receive

    def receive(connection: MinionConnection, timed: Any) -> Any:
        answer = honest(connection, timed)
        connection.close()  # as from another thread
        return answer

    monkeypatch.setattr(MinionConnection, "_receive", receive)
    assert minion.call("test.add", [1, 2], seconds=20) == 3
    assert minion._sock is None
    monkeypatch.undo()
    assert minion.call("test.add", [2, 2], seconds=20) == 4
