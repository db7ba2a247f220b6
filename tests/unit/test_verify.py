"""The check from outside, against small servers on this machine."""

from __future__ import annotations

import errno
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from omserver_master.jobs import verify
from omserver_master.jobs.board import JobHost
from omserver_master.jobs.verify import Checker, Verified


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "EVERY", 0.05)


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answers each connection with the next of *answers*, at last the last one; its port, what came in."""
    asked: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = door.accept()
                with closing(line):
                    asked.append(line.recv(4096))
                    line.sendall(answers[min(len(asked), len(answers)) - 1])

    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        threading.Thread(target=serve, daemon=True).start()
        yield door.getsockname()[1], asked
        with suppress(OSError):
            door.shutdown(socket.SHUT_RDWR)


def why_not(what: str, name: str = "db-1", ip: str = "127.0.0.1", **options: Any) -> str:
    told: queue.Queue[Verified] = queue.Queue()
    checker = Checker({"verify": what, "verify_within": 0.4, **options}, told.put)
    checker.check(JobHost(7, name, ip, "", ""))
    found = told.get(timeout=10)
    checker.close()
    for thread in threading.enumerate():
        if thread.name == "verify":
            thread.join(5)
    assert found.host_id == 7
    return found.why_not


GOOD, BAD = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 No\r\n\r\n"


def test_only_so_many_good_answers_in_a_row_count() -> None:
    with server(GOOD, BAD, GOOD, GOOD, BAD) as (port, asked):
        assert why_not(f"http://{{ip}}:{port}/a?b=c", verify_times=2) == ""
    assert len(asked) == 4
    assert asked[0].startswith(f"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())


def test_what_was_wrong_last_is_told() -> None:
    with server(BAD) as (port, _):
        assert why_not(f"http://{{ip}}:{port}/").endswith(
            f"http://127.0.0.1:{port}/: it answered 503, not 200"
        )
        assert why_not(f"http://{{ip}}:{port}/", expect=503) == ""
    with server(b"220 mail\r\n") as (port, _):
        assert why_not(f"http://{{ip}}:{port}/").endswith("its answer is not HTTP")
    assert why_not("tcp:1").endswith("tcp://127.0.0.1:1: nobody listens at 127.0.0.1, port 1")


def test_an_address_without_a_way_to_it_is_told_without_the_systems_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EHOSTUNREACH, "Connect call failed ('192.0.2.2', 22)")

    monkeypatch.setattr(verify.asyncio, "open_connection", fail)
    assert why_not("tcp:22", ip="192.0.2.2").endswith("tcp://192.0.2.2:22: No route to host")


def test_a_redirection_is_not_followed() -> None:
    with server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n") as (port, asked):
        assert "it answered 302" in why_not(f"http://{{ip}}:{port}/")
    assert asked


def test_too_few_good_answers_are_told_as_such() -> None:
    with server(GOOD) as (port, _):
        assert "it answered well only" in why_not(f"http://{{ip}}:{port}/", verify_times=100)


def test_a_port_that_takes_connections_is_enough_for_tcp() -> None:
    with server(b"") as (port, _):
        assert why_not(f"tcp:{port}") == ""
        assert why_not(f"tcp:{port}", name="127.0.0.1", ip="") == ""


def test_a_silent_host_is_given_up_in_time() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        assert "no answer in time" in why_not(f"http://{{name}}:{door.getsockname()[1]}/", name="127.0.0.1")


def test_many_silent_hosts_are_not_in_the_way_of_those_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "AT_ONCE", 8)
    monkeypatch.setattr(verify, "SILENT_AT_ONCE", 2)
    monkeypatch.setattr(verify, "ONE_TRY", 0.1)
    told: queue.Queue[Verified] = queue.Queue()
    with server(GOOD) as (port, _), closing(socket.create_server(("127.0.0.3", port), backlog=512)):
        options = {"verify": f"http://{{ip}}:{port}/", "verify_times": 3, "verify_within": 1}
        checker = Checker(options, told.put)
        for id_ in range(64):
            checker.check(JobHost(id_, "db", "127.0.0.1" if id_ % 8 == 0 else "127.0.0.3", "", ""))
        found = [told.get(timeout=20) for _ in range(64)]
        checker.close()
    assert {one.host_id for one in found if not one.why_not} == set(range(0, 64, 8))
    assert all("no answer in time" in one.why_not for one in found if one.why_not)


def test_the_address_of_ipv6_is_in_brackets() -> None:
    checker = Checker({"verify": "http://{ip}:8080/x"}, lambda verified: None)
    assert checker._address(JobHost(1, "a", "fe80::1", "", "")) == "http://[fe80::1]:8080/x"
