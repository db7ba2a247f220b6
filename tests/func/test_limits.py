"""Anybody may ask a certmaster, without a login: nobody may hold up who comes next."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from omserver_func.certificates import Authority
from omserver_func.certmaster import CertmasterServer

from .site import master_files
from .test_certificates import certmaster, enrolment


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(master_files(tmp_path / "master"))
    made.create("site")
    return made


def ask(server: CertmasterServer, *head: str, body: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    sock.sendall("\r\n".join(["POST /RPC2 HTTP/1.0", *head, "", ""]).encode("latin-1") + body)
    return sock


def test_who_drips_to_the_certmaster_is_hung_up_on(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CertmasterServer, "first_seconds", 1.0)
    with certmaster(authority) as server, ask(server, "Content-Length: 60000") as sock:
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + 15:
                sock.sendall(b"<")
                time.sleep(0.05)
        assert time.monotonic() < started + 15


def test_only_so_many_may_ask_the_certmaster_at_once(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CertmasterServer, "most_connections", 3)
    host = enrolment(tmp_path / "host", authority)
    host.prepare()
    with certmaster(authority) as server:
        with contextlib.ExitStack() as crowd:
            for _ in range(3):
                crowd.enter_context(ask(server, "Content-Length: 10"))
            with pytest.raises(OSError, match=r"Remote|reset|Broken"):
                host.ask("127.0.0.1", server.port)
            assert authority.waiting() == []
        deadline = time.monotonic() + 20
        while not authority.waiting():  # they have gone: the next one is heard
            with contextlib.suppress(OSError):
                assert not host.ask("127.0.0.1", server.port)
            assert time.monotonic() < deadline


def test_a_certmaster_listens_on_an_address_of_ipv6_too(authority: Authority, tmp_path: Path) -> None:
    host = enrolment(tmp_path / "host", authority)
    with certmaster(authority, "::1") as server:
        assert not host.ask("::1", server.port)
    assert authority.waiting() == [host.name]


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (411, []),
        (411, ["Content-Length: -1"]),
        (411, ["Content-Length: \xb2"]),
        (411, ["Content-Length: 3", "Transfer-Encoding: chunked"]),
        (413, ["Content-Length: 65537"]),
        (413, ["Content-Length: " + "9" * 5000]),
        (400, ["Content-Length: 3"]),
    ],
)
def test_a_length_is_a_number_in_plain_digits(authority: Authority, status: int, head: list[str]) -> None:
    with certmaster(authority) as server, ask(server, *head, body=b"abc") as sock:
        assert sock.makefile("rb").readline().split()[1] == str(status).encode()
