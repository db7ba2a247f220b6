"""Asking a Salt master, against a socket that answers as its request server does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import zmq

from omserver_master.backends.salt.channel import Channel, NoAnswer, NotThere
from omserver_master.backends.salt.local import import_salt
from tests.ports import free_port
from tests.wire_rig import wait_until


@pytest.fixture(scope="module")
def salt() -> Any:
    return import_salt()


@contextmanager
def master(salt: Any, answer: Callable[[Any], bytes | None]) -> Iterator[tuple[Channel, list[Any]]]:
    """A request server that says what *answer* makes of each question; a channel to it, and what it heard."""
    heard: list[Any] = []
    with zmq.Context() as context, context.socket(zmq.ROUTER) as door:
        door.linger = 0
        port = door.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            while door.poll(5000):
                *way, packed = door.recv_multipart()
                if packed == b"over":
                    return
                heard.append(salt.payload.loads(packed))
                said = answer(heard[-1])
                if said is not None:
                    door.send_multipart([*way, said])

        server = threading.Thread(target=serve)
        server.start()
        options = {"transport": "zeromq", "interface": "127.0.0.1", "ret_port": port}
        with closing(Channel(salt, options)) as channel:
            yield channel, heard
        with context.socket(zmq.REQ) as last:
            last.connect(f"tcp://127.0.0.1:{port}")
            last.send(b"over")
            server.join(5)


def test_a_question_goes_in_clear_and_is_answered(salt: Any) -> None:
    with master(salt, lambda asked: salt.payload.dumps({"load": asked["load"]})) as (channel, heard):
        assert channel.ask({"cmd": "publish", "arg": ["grüße"]}, 5) == {
            "load": {"cmd": "publish", "arg": ["grüße"]}
        }
        assert channel.ask({"cmd": "publish", "jid": "2"}, 5) == {"load": {"cmd": "publish", "jid": "2"}}
    assert [one["enc"] for one in heard] == ["clear", "clear"]


def test_what_is_not_answered_is_not_asked_again(salt: Any) -> None:
    with master(salt, lambda asked: None) as (channel, heard), pytest.raises(NoAnswer):
        channel.ask({"cmd": "publish"}, 0.5)
    assert len(heard) == 1


def test_nothing_is_sent_to_a_master_that_is_not_there(salt: Any) -> None:
    options = {"transport": "zeromq", "interface": "127.0.0.1", "ret_port": free_port()}
    with closing(Channel(salt, options)) as channel, pytest.raises(NotThere):
        channel.ask({"cmd": "publish"}, 5)


def test_nothing_is_sent_to_a_master_that_has_gone(salt: Any) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as door:
        options = {"transport": "zeromq", "interface": "127.0.0.1"}
        options["ret_port"] = door.bind_to_random_port("tcp://127.0.0.1")
        with closing(Channel(salt, options)) as channel:
            asked = threading.Thread(target=lambda: door.send(door.recv()))
            asked.start()
            channel.ask({"cmd": "publish"}, 5)
            asked.join()
            door.close(linger=0)
            assert wait_until(lambda: not channel._socket.poll(0, zmq.POLLOUT))
            with pytest.raises(NotThere):
                channel.ask({"cmd": "publish"}, 5)


def test_an_answer_that_cannot_be_read_is_none(salt: Any) -> None:
    with master(salt, lambda asked: b"\xc1") as (channel, _), pytest.raises(NoAnswer):
        channel.ask({"cmd": "publish"}, 5)
