"""Requests and replies as bytes, on both sides, as peers of Func's time need them."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator

import pytest

from omserver_func import wire
from omserver_func.errors import CallFailed, MalformedMessage
from omserver_func.server import MinionServer
from omserver_func.tls import client_context, server_context
from omserver_func.transport import MinionConnection

from .site import FuncSite, func_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuncSite]:
    with func_site(tmp_path_factory.mktemp("func-wire"), "127.0.0.2") as site:
        yield site


class FakePeer:
    """A TLS server that reads record by record, says what it is told, and is no minion."""

    def __init__(self, site: FuncSite, answer: Callable[[ssl.SSLSocket], None]) -> None:
        self.records: list[bytes] = []
        self._answer = answer
        self._context = server_context(site.identity("127.0.0.9"))
        self._listener = socket.create_server(("127.0.0.9", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        raw, _ = self._listener.accept()
        with contextlib.suppress(OSError), self._context.wrap_socket(raw, server_side=True) as sock:
            sock.settimeout(10)
            wanted = None
            while wanted is None or sum(map(len, self.records[1:])) < wanted:
                # One read gives what one record held, never more.
                self.records.append(sock.recv(1 << 20))
                length = next(line for line in self.records[0].split(b"\r\n") if b"Content-Length" in line)
                wanted = int(length.split()[-1])
            self._answer(sock)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(10)

    @contextlib.contextmanager
    def connected(self, site: FuncSite) -> Iterator[MinionConnection]:
        context = client_context(site.ca)
        with MinionConnection("127.0.0.9", context, self.port) as minion:
            yield minion
        self.close()


def reply(document: bytes, head: bytes = b"") -> Callable[[ssl.SSLSocket], None]:
    """An answer as the original gives it."""
    start = b"HTTP/1.1 200 OK\r\nContent-type: text/xml\r\n" + head
    return lambda sock: sock.sendall(start + b"Content-length: %d\r\n\r\n" % len(document) + document)


@pytest.mark.parametrize("size", [10, 8000, 8193, 12000, 16384, 40000])
def test_head_and_body_of_a_request_are_apart_whatever_its_size(site: FuncSite, size: int) -> None:
    peer = FakePeer(site, reply(wire.write_result(1)))
    with peer.connected(site) as minion:
        assert minion.call("test.echo", ["x" * size], seconds=20) == 1
    head, *body = peer.records
    assert head.startswith(b"POST /RPC2 HTTP/1.1\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert b"Accept-Encoding: gzip\r\n" in head
    assert b"Content-Type: text/xml\r\n" in head
    assert b"Connection" not in head
    assert xmlrpc.client.loads(b"".join(body)) == (("x" * size,), "test.echo")


def test_a_packed_reply_and_one_that_ends_with_the_connection_are_read(site: FuncSite) -> None:
    packed = reply(gzip.compress(wire.write_result("x" * 50000)), b"Content-Encoding: gzip\r\n")
    with FakePeer(site, packed).connected(site) as minion:
        assert minion.call("test.echo", seconds=20) == "x" * 50000

    def without_length(sock: ssl.SSLSocket) -> None:
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + wire.write_result(7))

    with FakePeer(site, without_length).connected(site) as minion:
        assert minion.call("test.echo", seconds=20) == 7


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not xml",
        b"<?xml version='1.0'?><methodResponse><params><param><value><string>\x01</string></value></param>",
        b"<methodResponse></methodResponse>",
        b"<methodResponse><params></params></methodResponse>",
        b"<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><methodResponse><params><param><value>&b;</value></param></params>'
        b"</methodResponse>",
        b"<methodResponse><params><param>" + b"<value><array><data>" * 5000,
        b"<methodResponse><fault><value><int>1</int></value></fault></methodResponse>",
        gzip.compress(b"x")[:-4],
        wire.write_request("test.ping", []),
    ],
    ids=range(11),
)
def test_rubbish_is_an_error_of_that_host_and_nothing_else(site: FuncSite, document: bytes) -> None:
    head = b"Content-Encoding: gzip\r\n" if document.startswith(b"\x1f") else b""
    with FakePeer(site, reply(document, head)).connected(site) as minion, pytest.raises(CallFailed) as failed:
        minion.call("test.ping", seconds=20)
    assert isinstance(failed.value.__cause__, MalformedMessage)
    assert failed.value.sent


def test_a_bomb_in_a_packed_reply_is_not_unpacked(site: FuncSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_BYTES", 100_000)
    bomb = reply(gzip.compress(bytes(10_000_000)), b"Content-Encoding: gzip\r\n")
    with FakePeer(site, bomb).connected(site) as minion, pytest.raises(CallFailed, match="too large"):
        minion.call("test.ping", seconds=20)


def test_a_peer_that_drips_is_left_at_the_calls_deadline(site: FuncSite) -> None:
    over = threading.Event()

    def drip(sock: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000:
                sock.sendall(bytes((byte,)))
                if over.wait(0.1):
                    return

    with FakePeer(site, drip).connected(site) as minion:
        with pytest.raises(CallFailed) as failed:
            minion.call("test.ping", seconds=1)
        over.set()
    assert isinstance(failed.value.__cause__, TimeoutError)


class Raw:
    """A caller that speaks HTTP by hand, as the original's client does."""

    def __init__(self, site: FuncSite, minion: str = "127.0.0.2") -> None:
        plain = socket.create_connection((minion, site.port), timeout=30)
        self.sock = client_context(site.ca).wrap_socket(plain)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.sock.close()

    def send(self, body: bytes, *head: str, path: str = "/RPC2", verb: str = "POST") -> None:
        lines = [f"{verb} {path} HTTP/1.1", "Host: minion", "Content-Type: text/xml", *head]
        if not any(line.startswith(("Content-Length", "Transfer")) for line in head):
            lines.append(f"Content-Length: {len(body)}")
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        self.sock.sendall(body)

    def answer(self) -> tuple[str, dict[str, str], bytes]:
        """First line, headers, body."""
        first = self.file.readline().decode().strip()
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return first, headers, self.file.read(int(headers.get("content-length", 0)))


@pytest.mark.parametrize("path", ["/RPC2", "/"])
def test_a_minion_answers_as_http_1_1_and_keeps_the_connection(site: FuncSite, path: str) -> None:
    with Raw(site) as caller:
        for _ in range(3):
            caller.send(wire.write_request("test.ping", []), path=path)
            first, headers, body = caller.answer()
            assert first == "HTTP/1.1 200 OK"
            assert headers["content-type"] == "text/xml"
            assert "connection" not in headers
            assert "content-encoding" not in headers
            assert wire.read_reply(body) == 1


def test_a_large_reply_is_packed_for_who_unpacks_and_closes_the_connection_of_who_does_not(
    site: FuncSite,
) -> None:
    call = wire.write_request("test.echo", ["é" * 20000])
    with Raw(site) as caller:
        for _ in range(2):
            caller.send(call, "Accept-Encoding: gzip")
            _, headers, body = caller.answer()
            assert headers["content-encoding"] == "gzip"
            assert wire.read_reply(gzip.decompress(body)) == "é" * 20000
        caller.send(wire.write_request("test.echo", ["x"]), "Accept-Encoding: gzip")
        assert "content-encoding" not in caller.answer()[1]
        caller.send(call)
        _, headers, body = caller.answer()
        assert "content-encoding" not in headers
        assert "connection" not in headers
        assert wire.read_reply(body) == "é" * 20000
        assert caller.file.read() == b""


@pytest.mark.parametrize(
    ("status", "verb", "path", "head", "body"),
    [
        (404, "POST", "/etc/passwd", [], b""),
        (501, "GET", "/RPC2", [], b""),
        (400, "POST", "/RPC2", [], b"<a"),
        (400, "POST", "/RPC2", [], wire.write_result(1)),
        (400, "POST", "/RPC2", [], wire.write_fault(1, "no")),
        (411, "POST", "/RPC2", ["Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (411, "POST", "/RPC2", ["Content-Length: -1"], b""),
        (413, "POST", "/RPC2", ["Content-Length: 99999999"], b""),
        (413, "POST", "/RPC2", ["Content-Length: 99999999999999999999"], b""),
        (415, "POST", "/RPC2", ["Content-Encoding: gzip"], b"x"),
    ],
)
def test_what_is_no_call_is_refused_and_the_connection_ends(
    site: FuncSite, status: int, verb: str, path: str, head: list[str], body: bytes
) -> None:
    with Raw(site) as caller:
        caller.send(body, *head, path=path, verb=verb)
        assert caller.answer()[0].split()[1] == str(status)
        assert caller.file.read() == b""


def test_who_says_nothing_or_drips_is_hung_up_on_and_holds_up_nobody(
    site: FuncSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_connection(("127.0.0.2", site.port), timeout=30):  # never a TLS handshake
        assert site.overlord("127.0.0.2").test.ping() == {"127.0.0.2": 1}
    server: MinionServer = site.minions["127.0.0.2"].server
    monkeypatch.setattr("omserver_func.server.MOST_SECONDS", 1.0)
    with Raw(site) as caller:
        caller.send(b"<", "Content-Length: 100")
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert caller.file.read() == b""
    assert server.port == site.port


def test_text_that_xml_cannot_hold_is_replaced_in_results_and_refused_in_arguments(site: FuncSite) -> None:
    overlord = site.overlord("127.0.0.2", noglobs=True)
    said = overlord.command.run(r"printf 'a\000b\001\377\r\n\033[1m<&>]]>'")
    assert said == [0, "a\ufffdb\ufffd\ufffd\r\n\ufffd[1m<&>]]>", ""]
    with pytest.raises(ValueError, match="Binary"):
        overlord.test.echo("\x01")
    assert overlord.test.echo({"a": [1, 2.5, True, None, "é\r\n"]}) == {"a": [1, 2.5, True, None, "é\r\n"]}
    assert overlord.test.echo(xmlrpc.client.Binary(b"\0\xff")).data == b"\0\xff"


def test_a_number_that_is_too_large_is_a_fault_as_in_the_original(site: FuncSite) -> None:
    fault = site.overlord("127.0.0.2", noglobs=True).test.bigint()
    assert fault[:2] == ["REMOTE_ERROR", "xmlrpclib.Fault"]
    assert "int exceeds XML-RPC limits" in fault[2]
    with pytest.raises(OverflowError):
        site.overlord("127.0.0.2").test.echo(2**31)
