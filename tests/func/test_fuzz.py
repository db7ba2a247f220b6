"""Rubbish from callers and from minions: nothing breaks, nothing is left hanging."""

from __future__ import annotations

import random
import socket
import ssl
import xmlrpc.client
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from omserver_func.errors import MalformedMessage
from omserver_func.tls import client_context
from omserver_func.wire import read_reply, read_request, write_request, write_result

from .site import FuncSite, func_site

MINION = "127.0.0.2"
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuncSite]:
    with func_site(tmp_path_factory.mktemp("func-fuzz"), MINION) as site:
        yield site


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(value=_VALUES)
@example(value={"\r": "\r"})
def test_every_value_arrives_or_is_refused(value: object) -> None:
    document = write_result(value)
    xmlrpc.client.loads(document)  # whatever the value, it is a document that anybody can read
    try:
        request = write_request("test.echo", [value])
    except ValueError:
        return
    assert read_request(request) == ("test.echo", [value])
    assert read_reply(document) == value


def _mutations(count: int) -> Iterator[bytes]:
    dice = random.Random(1003)
    good = write_request("test.echo", [{"a": [1, "x", None, xmlrpc.client.Binary(b"y")]}])
    for _ in range(count):
        broken = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(broken))
            match dice.randrange(3):
                case 0:
                    broken[at] = dice.randrange(256)
                case 1:
                    del broken[at : at + dice.randrange(1, 30)]
                case _:
                    broken[at:at] = broken[dice.randrange(len(broken)) :][: dice.randrange(40)]
        yield bytes(broken)


def test_broken_documents_are_read_or_refused_and_raise_nothing_else() -> None:
    for document in _mutations(3000):
        for read in (read_request, read_reply):
            try:
                read(document)
            except (MalformedMessage, xmlrpc.client.Fault):
                continue


def test_a_minion_answers_broken_requests_and_goes_on(site: FuncSite) -> None:
    context = client_context(site.ca)
    statuses = set()
    for number, document in enumerate([write_request("test.ping", []), *_mutations(60)]):
        with _connection(site, context) as sock:
            sock.sendall(b"POST /RPC2 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(document))
            sock.sendall(document)
            answer = sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 "), number
            statuses.add(answer.split()[1])
            assert b"Traceback" not in answer
    assert statuses == {b"200", b"400"}
    assert site.overlord().test.ping() == {MINION: 1}


def test_bytes_that_are_no_http_and_no_tls_harm_nobody(site: FuncSite) -> None:
    dice = random.Random(7)
    context = client_context(site.ca)
    for _ in range(30):
        rubbish = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 400)))
        with socket.create_connection((MINION, site.port), timeout=30) as plain:
            plain.sendall(rubbish)
        with _connection(site, context) as sock:
            sock.sendall(rubbish + b"\r\n\r\n")
    assert site.overlord().test.ping() == {MINION: 1}


def _connection(site: FuncSite, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection((MINION, site.port), timeout=30))
