"""A name with several addresses: each is tried, whatever the one before said."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator

import pytest

from omserver_func.errors import CallFailed
from omserver_func.tls import client_context
from omserver_func.transport import MinionConnection

from .site import FuncSite, func_site

MINION = "127.0.0.2"
#: A connection to a broadcast address ends at once: the network is unreachable.
UNREACHABLE = (socket.AF_INET, ("127.255.255.255", 9))
#: No socket of this family can be made.
NO_FAMILY = (4711, ("127.0.0.2", 9))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuncSite]:
    with func_site(tmp_path_factory.mktemp("func-limits"), MINION) as site:
        yield site


@contextlib.contextmanager
def silent() -> Iterator[tuple[int, tuple[str, int]]]:
    """An address that says nothing to who comes: its queue is full, and nobody takes from it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.8", 0), backlog=0))
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield socket.AF_INET, listener.getsockname()


@contextlib.contextmanager
def refusing() -> Iterator[tuple[int, tuple[str, int]]]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.8", 0))
        yield socket.AF_INET, bound.getsockname()


def named(
    monkeypatch: pytest.MonkeyPatch, site: FuncSite, *addresses: tuple[int, object]
) -> MinionConnection:
    """A connection to a name that has these addresses."""
    answer = [(family, socket.SOCK_STREAM, 6, "", where) for family, where in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    return MinionConnection(MINION, client_context(site.ca), site.port, address="several.lab.test")


def test_each_address_of_a_name_is_tried_whatever_the_one_before_said(
    site: FuncSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (socket.AF_INET, (MINION, site.port))
    with silent() as mute, refusing() as closed:
        for bad in ([UNREACHABLE], [NO_FAMILY], [closed], [mute], [closed, mute, UNREACHABLE]):
            with named(monkeypatch, site, *bad, good) as minion:
                assert minion.call("test.ping", seconds=4) == 1, bad
        with named(monkeypatch, site, mute, mute, good) as minion:
            assert minion.call("test.ping", seconds=100, wait=3) == 1


def test_when_no_address_answers_the_last_one_says_why_in_time(
    site: FuncSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent() as mute, refusing() as closed:
        for addresses, number in (
            ((mute, UNREACHABLE), errno.ENETUNREACH),
            ((mute, closed), errno.ECONNREFUSED),
        ):
            with named(monkeypatch, site, *addresses) as minion, pytest.raises(CallFailed) as failed:
                minion.call("test.ping", seconds=1)
            assert isinstance(failed.value.__cause__, OSError)
            assert failed.value.__cause__.errno == number
            assert not failed.value.sent
        started = time.monotonic()
        with named(monkeypatch, site, closed, mute, mute) as minion, pytest.raises(CallFailed) as failed:
            minion.call("test.ping", seconds=1)
        assert isinstance(failed.value.__cause__, TimeoutError)
        assert 0.9 < time.monotonic() - started < 10
