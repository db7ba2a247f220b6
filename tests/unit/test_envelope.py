"""Sealing and opening, against vectors and against mischief."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from omserver_client.envelope import CLIENT, HIGHEST_SEQ, MASTER, OVERHEAD, read_header, seal, unseal
from omserver_client.errors import SealRefused
from omserver_client.keyfile import Key, new_key, parse_key

HERE = Path(__file__).parents[1]
VECTORS = json.loads((HERE / "vectors" / "envelope_v1.json").read_text(encoding="utf-8"))
KEY = parse_key(VECTORS["key_file"])
CHALLENGE = bytes.fromhex(VECTORS["challenge"])


def names(vectors: list[dict[str, str]]) -> list[str]:
    return [vector["name"] for vector in vectors]


def test_the_vectors_key_file_says_what_the_vectors_say() -> None:
    assert (KEY.kid_hex, KEY.secret.hex()) == (VECTORS["kid"], VECTORS["secret"])


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=names(VECTORS["messages"]))
def test_sealing_gives_the_published_bytes(vector: dict[str, str]) -> None:
    seq, direction = int(vector["seq"]), vector["direction"].encode()
    plaintext, nonce = vector["plaintext"].encode(), bytes.fromhex(vector["nonce"])
    sealed = seal(KEY, seq, direction, CHALLENGE, plaintext, nonce=nonce)
    assert sealed.hex() == vector["sealed"]
    assert unseal(KEY, seq, direction, CHALLENGE, sealed) == plaintext


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=names(VECTORS["refused"]))
def test_what_must_be_refused_is_refused(vector: dict[str, str]) -> None:
    direction = vector.get("direction", "C").encode()
    challenge = bytes.fromhex(vector.get("challenge", VECTORS["challenge"]))
    with pytest.raises(SealRefused):
        unseal(KEY, 1, direction, challenge, bytes.fromhex(vector["sealed"]))


def test_the_vectors_shown_in_the_protocol_are_the_vectors() -> None:
    text = (HERE.parent / "docs" / "protocol.md").read_text(encoding="utf-8")
    hexes = re.sub(r"\n {4}", "", text)
    shown = {vector["name"]: vector for vector in VECTORS["messages"]}
    for name in ("request", "reply"):
        assert shown[name]["sealed"] in hexes
        assert shown[name]["plaintext"] in text
    assert VECTORS["key_file"] in text
    assert VECTORS["challenge"] in text


@given(st.binary(max_size=2000), st.integers(1, HIGHEST_SEQ), st.binary(min_size=32, max_size=32))
def test_what_was_sealed_opens(plaintext: bytes, seq: int, challenge: bytes) -> None:
    key = new_key("any")
    sealed = seal(key, seq, CLIENT, challenge, plaintext)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert unseal(key, seq, CLIENT, challenge, sealed) == plaintext


def test_no_single_bit_can_be_flipped() -> None:
    sealed = seal(KEY, 1, CLIENT, CHALLENGE, b'{"v":1}')
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealRefused):
            unseal(KEY, 1, CLIENT, CHALLENGE, bytes(changed))


def test_two_messages_cannot_be_spliced() -> None:
    first = seal(KEY, 1, CLIENT, CHALLENGE, b"the first message")
    second = seal(KEY, 2, CLIENT, CHALLENGE, b"another message..")
    with pytest.raises(SealRefused):
        unseal(KEY, 2, CLIENT, CHALLENGE, second[:29] + first[29:])


def test_the_same_text_is_never_sealed_alike() -> None:
    assert seal(KEY, 1, CLIENT, CHALLENGE, b"x") != seal(KEY, 1, CLIENT, CHALLENGE, b"x")


def test_a_key_of_the_same_number_and_another_secret_does_not_open() -> None:
    other = Key("other", KEY.kid, new_key("other").secret)
    with pytest.raises(SealRefused):
        unseal(other, 1, CLIENT, CHALLENGE, seal(KEY, 1, CLIENT, CHALLENGE, b"x"))


@given(st.binary(max_size=200))
def test_junk_is_refused_and_nothing_else_happens(junk: bytes) -> None:
    with pytest.raises(SealRefused):
        unseal(KEY, 1, MASTER, CHALLENGE, junk)


def test_a_message_of_another_version_is_refused_though_it_is_sealed_well() -> None:
    header = struct.pack(">B8sQ12s", 2, KEY.kid, 1, b"n" * 12)
    sealed = header + AESGCM(KEY.secret).encrypt(b"n" * 12, b"x", header + CLIENT + CHALLENGE)
    with pytest.raises(SealRefused):
        unseal(KEY, 1, CLIENT, CHALLENGE, sealed)


def test_a_header_can_be_read_without_the_key() -> None:
    header = read_header(seal(KEY, 7, CLIENT, CHALLENGE, b"x"))
    assert (header.version, header.kid, header.seq) == (1, KEY.kid, 7)


@pytest.mark.parametrize(
    ("seq", "direction", "challenge"), [(0, CLIENT, CHALLENGE), (1, b"X", CHALLENGE), (1, CLIENT, b"short")]
)
def test_what_the_envelope_cannot_carry_is_a_programming_error(
    seq: int, direction: bytes, challenge: bytes
) -> None:
    with pytest.raises(ValueError, match=r"seq|direction"):
        seal(KEY, seq, direction, challenge, b"x")
