"""The reader of a Salt master's events, against a socket that speaks as Salt's own code frames them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_master.backends.base import ConnectionDown
from omserver_master.backends.salt.events import EVENT_SOCKET, Subscription
from omserver_master.backends.salt.local import import_salt

TAG = "salt/job/20260101000000000000/ret/web-01"


@pytest.fixture(scope="module")
def salt() -> Any:
    return import_salt()


def framed(salt: Any, tag: str, content: Any) -> bytes:
    """An event as the master writes it."""
    packed = salt.utils.event.SaltEvent.pack(tag, content)
    return bytes(salt.transport.frame.frame_msg(packed))


@pytest.fixture
def master(salt: Any, tmp_path: Path) -> Iterator[tuple[Subscription, socket.socket]]:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / EVENT_SOCKET))
        door.listen()
        subscription = Subscription(salt, {"sock_dir": str(tmp_path), "ipc_mode": "ipc"})
        stream, _ = door.accept()
        with stream:
            yield subscription, stream
        subscription.close()


def test_events_come_one_by_one_however_they_were_cut(salt: Any, master: Any) -> None:
    subscription, stream = master
    said = [{"return": "x" * size, "id": "web-01"} for size in (1, 9000, 200_000)]
    sent = b"".join(framed(salt, f"{TAG}{number}", one) for number, one in enumerate(said))
    events = subscription.events()
    found = []
    for start in range(0, len(sent), 30_011):
        stream.sendall(sent[start : start + 30_011])
    while len(found) < 3:
        found.append(next(events))
    assert [tag for tag, _ in found] == [f"{TAG}0", f"{TAG}1", f"{TAG}2"]
    assert [subscription.content(body) for _, body in found] == said


def test_text_and_bytes_come_as_they_were(salt: Any, master: Any) -> None:
    subscription, stream = master
    content = {"return": {"stdout": "grüße 主机", "raw": b"\xff\x00"}}
    stream.sendall(framed(salt, TAG, content))
    _, body = next(subscription.events())
    assert subscription.content(body) == content


def test_a_reader_has_its_turn_when_nothing_comes(master: Any) -> None:
    subscription, _ = master
    assert next(subscription.events()) == ("", b"")


def test_an_event_that_cannot_be_read_is_nothing(salt: Any, master: Any) -> None:
    subscription, stream = master
    stream.sendall(salt.transport.frame.frame_msg(TAG.encode() + b"\n\n\xc1"))
    tag, body = next(subscription.events())
    assert tag == TAG
    assert subscription.content(body) is None


@pytest.mark.parametrize("frame", [7, {"head": {}}, {"head": {}, "body": 3}], ids=str)
def test_a_stream_in_another_form_is_said_to_be_lost(salt: Any, master: Any, frame: Any) -> None:
    subscription, stream = master
    stream.sendall(salt.utils.msgpack.dumps(frame))
    with pytest.raises(ConnectionDown, match="not in the form that is known"):
        next(subscription.events())


def test_the_end_of_a_stream_is_said(master: Any) -> None:
    subscription, stream = master
    stream.close()
    with pytest.raises(ConnectionDown, match="closed"):
        next(subscription.events())


def test_who_is_not_there_does_not_answer(salt: Any, tmp_path: Path) -> None:
    with pytest.raises(ConnectionDown, match="does not answer"):
        Subscription(salt, {"sock_dir": str(tmp_path), "ipc_mode": "ipc"})


def test_a_master_may_hand_out_its_events_over_tcp(salt: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        subscription = Subscription(salt, {"ipc_mode": "tcp", "ipv6": None, "tcp_master_pub_port": port})
        stream, _ = door.accept()
        with stream:
            stream.sendall(framed(salt, TAG, {"return": True}))
            assert next(subscription.events())[0] == TAG
        subscription.close()
