"""The campaign's link: what it does to a connection in each of its states."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from campaign.link import Link


class Echo:
    """A server that says everything back, and remembers what it heard."""

    def __init__(self) -> None:
        self.heard = b""
        self.came = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._server, suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while said := connection.recv(4096):
                self.heard += said
                self.came.set()
                connection.sendall(said)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    made = Link(echo.port)
    yield made
    made.close()


@pytest.fixture
def caller(link: Link) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", link.port), 5) as made:
        made.sendall(b"a")
        assert made.recv(1) == b"a"
        yield made


def test_a_cut_link_resets_those_who_talk_and_those_who_come(link: Link, caller: socket.socket) -> None:
    link.set("cut")
    with pytest.raises(ConnectionResetError):
        caller.recv(1)
    assert not says(link, b"b")
    link.set("open")
    assert says(link, b"c")


def test_a_side_that_is_killed_is_told_to_the_other() -> None:
    """With something unread its system sends a reset and no end; a caller would wait for ever."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        link = Link(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", link.port), 5) as caller:
            far, _ = server.accept()
            caller.sendall(b"query")
            assert select.select([far], [], [], 5)[0]
            far.close()
            caller.settimeout(5)
            with pytest.raises(ConnectionResetError):
                caller.recv(1)
        link.close()


def says(link: Link, word: bytes) -> bool:
    """Whether *word* comes back over a new connection."""
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", link.port), 5) as other:
        other.sendall(word)
        return other.recv(1) == word
    return False


def test_over_a_deaf_link_what_is_said_arrives_and_the_answer_is_lost(
    link: Link, echo: Echo, caller: socket.socket
) -> None:
    link.set("deaf")
    echo.came.clear()
    caller.sendall(b"b")
    assert echo.came.wait(5)
    assert echo.heard == b"ab"
    caller.settimeout(0.1)
    with pytest.raises(TimeoutError):
        caller.recv(1)
    link.set("open")
    caller.settimeout(5)
    with pytest.raises(ConnectionResetError):
        caller.recv(1)


def test_over_a_silent_link_everything_arrives_when_it_is_open_again(
    link: Link, echo: Echo, caller: socket.socket
) -> None:
    link.set("silent")
    echo.came.clear()
    caller.sendall(b"b")
    assert not echo.came.wait(0.1)
    link.set("open")
    assert caller.recv(1) == b"b"


def test_a_slow_link_loses_nothing(link: Link, caller: socket.socket) -> None:
    link.set("slow")
    said, heard = bytes(range(256)) * 20, b""
    caller.sendall(said)
    while len(heard) < len(said):
        heard += caller.recv(4096)
    assert heard == said
