"""What salt-api's own settings refuse, and what of its answers is believed. No salt-api is needed for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from omserver_master.backends import ConnectionDown, make_backend
from omserver_master.backends.salt import http as salthttp
from omserver_master.backends.salt.bus import MaybeSent
from omserver_master.backends.salt.http import HttpSaltBus, _lines

GOOD = {"url": "https://salt.example.org:8000", "user": "omserver", "password": "secret"}


def test_a_connection_is_made_without_reaching_anything() -> None:
    backend = make_backend("salt-api", "dc2", GOOD)
    backend.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost:8000/"])
def test_plain_http_is_for_this_machine_only(url: str) -> None:
    make_backend("salt-api", "dc2", GOOD | {"url": url}).close()


@pytest.mark.parametrize(
    "url",
    [
        "http://salt.example.org:8000",
        "http://10.0.0.5",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "ftp://127.0.0.1",
        "https://",
        "salt.example.org:8000",
        "https://me:secret@salt.example.org",
        "https://salt.example.org/?token=1",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="dc2: url"):
        make_backend("salt-api", "dc2", GOOD | {"url": url})


def test_the_password_is_a_secret_and_stands_in_no_error() -> None:
    backend = make_backend("salt-api", "dc2", GOOD | {"url": "https://127.0.0.1:1"})
    reachability = backend.probe()
    backend.close()
    assert not reachability.up
    assert "https://127.0.0.1:1" in reachability.reason
    assert "secret" not in reachability.reason
    assert [setting.name for setting in backend.SETTINGS if setting.secret] == ["password"]


def published(monkeypatch: pytest.MonkeyPatch, said: Any) -> set[str]:
    """What comes of a job when salt-api answers *said* to it."""
    bus = HttpSaltBus("https://127.0.0.1:1", {}, True, 1.0)
    monkeypatch.setattr(bus, "why_down", lambda: "")
    monkeypatch.setattr(bus, "_run", lambda low, timeout: said)
    try:
        return bus.publish("1", "test.ping", {}, [], ["web-01", "web-02"])
    finally:
        bus.close()


def test_no_job_id_means_that_no_minion_has_an_accepted_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert published(monkeypatch, {}) == set()
    assert published(monkeypatch, {"jid": "1", "minions": ["web-01"]}) == {"web-01"}


@pytest.mark.parametrize(
    "said", [{"jid": "2", "minions": ["web-01"]}, {"jid": "2"}, {"jid": "1", "minions": 5}, {"a": 1}, [], 7]
)
def test_another_job_id_proves_nothing(monkeypatch: pytest.MonkeyPatch, said: Any) -> None:
    with pytest.raises(MaybeSent):
        published(monkeypatch, said)


@contextmanager
def answering(pieces: Iterator[bytes]) -> Iterator[str]:
    """The address of a server that answers every order with *pieces*, in chunks."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with suppress(OSError):
                for piece in pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def dripping(seconds: float) -> Iterator[bytes]:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        yield b" "
        time.sleep(0.05)
    yield b'{"return": [{}]}'


@pytest.mark.parametrize(
    ("pieces", "good"),
    [
        (lambda: iter([b'{"return":', b" [{}]}"]), True),
        (lambda: iter([b" " * 1000] * 20 + [b'{"return": [{}]}']), False),
        (lambda: dripping(6), False),
    ],
    ids=["good", "long", "slow"],
)
def test_an_answer_has_a_limit_of_size_and_of_time(
    pieces: Any, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salthttp, "MAX_REPLY", 10_000)
    with answering(pieces()) as url:
        bus = HttpSaltBus(url, {}, True, 1.0)
        bus._token_ends = time.monotonic() + 60
        if good:
            assert bus._run({}, 20.0) == {}
        else:
            with pytest.raises(ConnectionDown, match="too long"):
                bus._run({}, 2.0)
        bus.close()


class Raw:
    """What urllib3 gives of a stream: pieces cut anywhere."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)

    def read1(self, most: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def lines(*pieces: bytes) -> list[bytes]:
    stream: Any = SimpleNamespace(raw=Raw(pieces))
    return list(_lines(stream))


def test_a_stream_is_read_line_by_line_however_it_is_cut() -> None:
    assert lines(b"tag: a\nda", b"ta: b", b"\n\n", b"x\ny\n") == [b"tag: a", b"data: b", b"", b"x", b"y"]


def test_a_line_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salthttp, "MAX_LINE", 1000)
    with pytest.raises(ConnectionDown):
        lines(*[b"x" * 100] * 20)


@pytest.mark.parametrize(
    "text",
    [
        b"rubbish /ret/",
        b"[] /ret/",
        b'["/ret/"]',
        b'{"tag": 5, "data": "/ret/"}',
        b'{"tag": "salt/job/1/ret/a", "data": 5}',
        b'{"tag": "salt/job/1/ret/a", "data": {"id": "b", "return": 1}}',
        b'{"tag": "salt/job/1/ret/a", "data": {"id": "a", "cmd": "_minion_event", "return": 1}}',
    ],
)
def test_an_event_that_is_no_return_changes_nothing(text: bytes) -> None:
    bus, heard = HttpSaltBus("https://127.0.0.1:1", {}, True, 1.0), []
    bus._listeners["1"] = lambda minion, content: heard.append(minion)
    bus._hear_event(text)
    assert heard == []
    bus._hear_event(b'{"tag": "salt/job/1/ret/a", "data": {"id": "a", "cmd": "_return", "return": 1}}')
    assert heard == ["a"]
    bus.close()
