"""Sealed messages on a real server: changed, replayed, strange and late ones are refused, all alike."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

import pytest

from omserver_client.envelope import MASTER, REFUSAL, seal
from omserver_client.errors import SealRefused
from omserver_client.keyfile import Key, new_key
from omserver_client.messages import TaskRequest
from tests.wire_rig import Peer, Rig, good_request, running


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture
def rig(shared: Rig) -> Rig:
    shared.master.seen.clear()
    shared.master.refusals.clear()
    return shared


def reasons(rig: Rig) -> list[str]:
    return [reason.split(":")[0] for _, _, reason in rig.master.refusals]


def test_a_good_message_is_answered_sealed_under_its_number(rig: Rig) -> None:
    with rig.peer() as peer:
        for _ in range(3):
            reply = json.loads(peer.opened(peer.call("call", peer.sealed())))
            assert reply["ok"]["op"] == "status"
    assert len(rig.master.seen) == 3


def test_no_single_bit_of_a_message_can_be_flipped(rig: Rig) -> None:
    plaintext = good_request()
    size = (len(plaintext) + 45) * 8
    for first in range(0, size, 2):
        with rig.peer() as peer:
            message = peer.sealed(plaintext)
            for bit in (first, first + 1):
                changed = bytearray(message)
                changed[bit // 8] ^= 1 << bit % 8
                assert peer.call("call", bytes(changed)) == REFUSAL, f"bit {bit}"
            assert first % 64 or peer.opened(peer.call("call", message)), "unchanged, it is good"
    assert len(rig.master.seen) == size // 64 + bool(size % 64)
    assert len(rig.master.refusals) == size


def test_the_third_refusal_is_the_last_answer(rig: Rig) -> None:
    with rig.peer() as peer:
        for _ in range(3):
            assert peer.call("call", b"junk") == REFUSAL
        assert peer.is_closed(2)
    with rig.peer() as peer:
        refusal = base64.b64encode(REFUSAL).decode()
        assert peer.call("Runcommands", "junk, and not even base64") == refusal
        assert peer.call("Runcommands", "") == refusal
        assert peer.call("call", b"\x01" * 60) == REFUSAL
        assert peer.is_closed(2)


def test_good_messages_between_do_not_excuse_bad_ones(rig: Rig) -> None:
    with rig.peer() as peer:
        for _ in range(2):
            assert peer.call("call", b"junk") == REFUSAL
            assert peer.opened(peer.call("call", peer.sealed()))
        assert peer.call("call", b"junk") == REFUSAL
        assert peer.is_closed(2)


def test_a_message_is_not_accepted_twice_on_its_connection(rig: Rig) -> None:
    with rig.peer() as peer:
        first, second = peer.sealed(), peer.sealed()
        assert peer.opened(peer.call("call", second))
        assert peer.call("call", second) == REFUSAL
        assert peer.call("call", first) == REFUSAL, "the number must rise"
    assert len(rig.master.seen) == 1
    assert reasons(rig) == ["replayed", "replayed"]


def test_a_message_is_not_accepted_on_another_connection(rig: Rig) -> None:
    with rig.peer() as peer, rig.peer() as other:
        message = peer.sealed()
        assert peer.opened(peer.call("call", message))
        assert other.call("call", message) == REFUSAL
    assert len(rig.master.seen) == 1


def test_a_message_is_not_accepted_after_a_restart() -> None:
    key = new_key("web")
    with running(key=key) as rig, rig.peer() as peer:
        message = peer.sealed()
        assert peer.opened(peer.call("call", message))
        port = rig.port
    with running(key=key, port=port) as rig, rig.peer() as peer:
        assert peer.call("call", message) == REFUSAL
        assert rig.master.seen == []


def test_an_answer_sent_back_is_no_message(rig: Rig) -> None:
    with rig.peer() as peer:
        answer = peer.call("call", peer.sealed())
        assert peer.call("call", answer) == REFUSAL
        reflected = seal(rig.key, 9, MASTER, peer.challenge, good_request())
        assert peer.call("call", reflected) == REFUSAL


def test_an_answer_opens_under_its_own_number_only(rig: Rig) -> None:
    with rig.peer() as peer:
        answer = peer.call("call", peer.sealed())
        with pytest.raises(SealRefused):
            peer.opened(answer, seq=2)


def test_the_challenge_stays_and_the_clock_goes_on(rig: Rig) -> None:
    with rig.peer() as peer:
        first, second = peer.greet(), peer.greet()
    assert first["challenge"] == second["challenge"]
    assert second["now"] >= first["now"] == pytest.approx(time.time(), abs=2)
    assert first["max_frame"] == 8 * 1024 * 1024
    with rig.peer() as peer:
        assert peer.greet()["challenge"] != first["challenge"]


def test_an_unknown_key_and_a_wrong_secret_are_refused_alike(rig: Rig) -> None:
    for key in (new_key("unknown"), Key("wrong", rig.key.kid, new_key("wrong").secret)):
        with Peer(rig.port, key) as peer:
            assert peer.call("call", peer.sealed()) == REFUSAL
    assert rig.master.seen == []
    assert reasons(rig)[0] == "unknown or revoked key"


def test_a_revoked_key_is_refused_in_the_middle_of_a_connection(rig: Rig) -> None:
    with rig.peer() as peer:
        assert peer.opened(peer.call("call", peer.sealed()))
        del rig.ring.keys[rig.key.kid]
        try:
            assert peer.call("call", peer.sealed()) == REFUSAL
        finally:
            rig.ring.keys[rig.key.kid] = rig.key
    assert len(rig.master.seen) == 1


def test_a_connection_keeps_to_its_first_key(rig: Rig) -> None:
    other = new_key("other")
    rig.ring.keys[other.kid] = other
    with rig.peer() as peer:
        assert peer.opened(peer.call("call", peer.sealed()))
        peer.key = other
        assert peer.call("call", peer.sealed()) == REFUSAL
    assert reasons(rig) == ["another key than before on this connection"]


@pytest.mark.parametrize("ahead", [-3600, -1, 62, 3600])
def test_a_message_that_expired_or_would_live_too_long_is_refused(rig: Rig, ahead: float) -> None:
    expiry = json.loads(good_request()) | {"exp": time.time() + ahead}
    task = TaskRequest("1003@@1.2.3.4*a@@", time.time() + ahead)
    with rig.peer() as peer:
        assert peer.call("call", peer.sealed(json.dumps(expiry).encode())) == REFUSAL
        sealed = base64.b64encode(peer.sealed(task.to_json())).decode()
        assert base64.b64decode(peer.call("Runcommands", sealed)) == REFUSAL
    assert rig.master.seen == []
    assert reasons(rig) == ["expired, or valid for too long"] * 2


def test_every_refusal_is_audited_with_address_and_key(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.call("call", b"junk")
        changed = bytearray(peer.sealed())
        changed[-1] ^= 1
        peer.call("call", bytes(changed))
    assert [(address, kid) for address, kid, _ in rig.master.refusals] == [
        ("127.0.0.1", ""),
        ("127.0.0.1", rig.key.kid_hex),
    ]


@pytest.mark.parametrize("plaintext", [b"", b"1003@@1.2.3.4*a@@", b"[1]", b'{"v":1}', b"\xff"])
def test_a_sealed_message_that_is_no_request_is_refused_sealed(rig: Rig, plaintext: bytes) -> None:
    with rig.peer() as peer:
        reply = json.loads(peer.opened(peer.call("call", peer.sealed(plaintext))))
        assert (reply["id"], reply["error"]["code"]) == ("", "bad_request")
        sealed = base64.b64encode(peer.sealed(plaintext)).decode()
        answer = peer.opened(base64.b64decode(peer.call("Runcommands", sealed)))
        assert json.loads(answer)["error"]["code"] == "bad_request"
    assert rig.master.seen == []


@pytest.fixture
def down(rig: Rig) -> Iterator[Rig]:
    """A master that knew the key and cannot look it up any more."""
    rig.ring.remembered, rig.ring.down = {rig.key.kid: rig.key}, True
    yield rig
    rig.ring.remembered, rig.ring.down = {}, False


def test_who_was_known_is_told_that_keys_cannot_be_looked_up_and_nothing_is_done(down: Rig) -> None:
    with down.peer() as peer:
        request = good_request()
        reply = json.loads(peer.opened(peer.call("call", peer.sealed(request))))
        assert (reply["id"], reply["error"]["code"]) == (json.loads(request)["id"], "unavailable")
        down.ring.down = False
        assert json.loads(peer.opened(peer.call("call", peer.sealed())))["ok"]["op"] == "status"
    assert len(down.master.seen) == 1


def test_a_refusal_needs_the_right_secret_and_a_number_that_rises(down: Rig) -> None:
    other = Key("other", down.key.kid, new_key("other").secret)
    with Peer(down.port, other) as peer:
        assert peer.call("call", peer.sealed()) == REFUSAL
    with down.peer() as peer:
        peer.call("call", peer.sealed(seq=7))
        assert peer.call("call", peer.sealed(seq=7)) == REFUSAL
    assert reasons(down) == ["changed, replayed from elsewhere, or sealed with another secret", "replayed"]


def test_who_was_not_known_is_not_answered_while_keys_cannot_be_looked_up(down: Rig) -> None:
    down.ring.remembered = {}
    with down.peer() as peer:
        message = peer.sealed()
        with pytest.raises(EOFError):
            peer.call("call", message)
