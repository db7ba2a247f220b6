"""How the client finds the address of its master: a resolver may be slow, wrong, or say nothing at all."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from omserver_client import NotReached
from omserver_client.transport import Transport
from tests.ports import free_port
from tests.wire_rig import running

REAL = socket.getaddrinfo


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that answers no name until the test is over; the names that it was asked for."""
    over = threading.Event()
    asked: list[str] = []

    def look_up(host: str, *more: Any, **options: Any) -> list[Any]:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            asked.append(host)
            over.wait(20)
            return []
        return REAL(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked
    over.set()


def test_a_resolver_that_never_answers_is_not_waited_for(silent_resolver: list[str]) -> None:
    began = time.monotonic()
    with pytest.raises(NotReached, match="nobody said within 1 s which address master"):
        Transport("master.example.com", 11511, tls=ssl.create_default_context(), connect_timeout=0.6)
    assert 0.5 < time.monotonic() - began < 5
    assert silent_resolver == ["master.example.com"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "LOCALHOST"])
def test_no_resolver_is_asked_for_an_address_or_this_machine(silent_resolver: list[str], host: str) -> None:
    with pytest.raises(NotReached, match="connection refused"):
        Transport(host, free_port())
    assert silent_resolver == []


def test_localhost_is_this_machine_also_where_only_ipv4_is_listened_on(silent_resolver: list[str]) -> None:
    with running() as rig:
        Transport("localhost", rig.port).close()


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 64, "xn--a"])
def test_a_name_that_is_nobodys_is_not_reached(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: str, *more: Any, **options: Any) -> list[Any]:
        name.encode("idna")  # as the real one does, before it asks
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(NotReached, match="was not reached"):
        Transport(host, 11511)


def test_a_name_that_the_resolver_knows_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, *more: Any, **options: Any) -> list[Any]:
        return REAL("127.0.0.1" if host == "master.example.com" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with running() as rig:
        Transport("master.example.com", rig.port).close()
