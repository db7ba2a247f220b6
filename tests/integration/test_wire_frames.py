"""Frames that are too large, too deep, bombs or junk, against a real server."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
from rpyc.core import brine

from omserver_client.errors import InternalError
from omserver_client.messages import Reply
from tests.wire_rig import HEADER, Rig, call_frame, running

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.mark.parametrize("size", [MIB + 1, 8 * MIB + 1, 2**31, 2**32 - 1])
def test_a_frame_over_the_limit_ends_the_connection_unread(rig: Rig, size: int) -> None:
    with rig.peer() as peer:
        peer.sock.sendall(HEADER.pack(size, 0) + b"x")
        assert peer.is_closed(1)


@pytest.mark.parametrize("compressed", [2, 255])
def test_a_frame_is_compressed_or_not(rig: Rig, compressed: int) -> None:
    with rig.peer() as peer:
        peer.send_frame(zlib.compress(call_frame(peer)), compressed=compressed)
        assert peer.is_closed(1)


def test_an_empty_frame_ends_the_connection(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.sock.sendall(HEADER.pack(0, 0) + b"\n")
        assert peer.is_closed(1)


def test_a_proved_client_may_send_large_frames_and_no_larger_ones(rig: Rig) -> None:
    with rig.client() as client:
        text = "x" * (5 * MIB)
        assert client.call("status", {"text": text})["args"] == {"text": text}
    with rig.peer() as peer:
        assert peer.opened(peer.call("call", peer.sealed()))
        peer.sock.sendall(HEADER.pack(8 * MIB + 1, 0) + b"x")
        assert peer.is_closed(1)


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(b"\0" * MIB) for _ in range(size // MIB)) + packer.flush()


def test_a_compressed_bomb_ends_the_connection_and_costs_little(rig: Rig) -> None:
    payload = bomb(200 * MIB)
    assert len(payload) < MIB
    tracemalloc.start()
    try:
        with rig.peer() as peer:
            peer.send_frame(payload, compressed=1)
            assert peer.is_closed(5)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "payload", [b"junk", zlib.compress(b"x" * 100)[:-5], zlib.compress(b""), bomb(2 * MIB)]
)
def test_what_cannot_be_inflated_ends_the_connection(rig: Rig, payload: bytes) -> None:
    with rig.peer() as peer:
        peer.send_frame(payload, compressed=1)
        assert peer.is_closed(1)


def test_a_compressed_frame_within_the_limit_is_welcome(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.send_frame(zlib.compress(call_frame(peer)), compressed=1)
        assert peer.receive_frame()


def test_many_values_and_deep_tuples_end_the_connection(rig: Rig) -> None:
    for payload in (
        b"\x01" + brine.TAG_TUP_L4 + (900_000).to_bytes(4, "big") + brine.TAG_EMPTY_TUPLE * 900_000,
        b"\x01" + brine.TAG_TUP1 * 900_000,
    ):
        with rig.peer() as peer:
            peer.send_frame(payload)
            assert peer.is_closed(1)


def test_an_answer_over_the_limit_becomes_a_refusal(rig: Rig) -> None:
    rig.master.answer = lambda request, caller: Reply(request.id, ok={"text": "x" * (9 * MIB)})
    try:
        with rig.client() as client:
            with pytest.raises(InternalError, match="larger than"):
                client.call("status")
            with pytest.raises(InternalError, match="larger than"):
                client.runcommands("1003@@1.2.3.4*a@@")
    finally:
        rig.master.answer = None
