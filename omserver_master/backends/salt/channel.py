"""Asking the request server of a Salt master on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Seconds that the master gets to open its door.
DOOR_TIMEOUT = 0.8


class NotThere(Exception):
    """Nobody is there to take the question: it was not sent."""


class NoAnswer(Exception):
    """The master took the question and said nothing in time, or nothing that can be read."""


class Channel:
    """A connection that stays open: one question at a time, each sent once. For one thread at a time.

    Salt's own turns an event loop sixteen times for each question, which takes 2 ms of CPU, and sends again
    what was not answered: a job would begin twice. Over ZeroMQ a question is msgpack of ``enc``, ``load`` and
    ``version``, as in ``salt/channel/client.py``; for a master with another transport Salt's own asks.
    """

    def __init__(self, salt: Any, options: Mapping[str, Any]) -> None:
        self._salt = salt
        host = salt.utils.network.ip_bracket(options["interface"])
        address = f"tcp://{host}:{options['ret_port']}"
        #: Whether a question is sent only if the master is there to take it.
        self.knocks = options["transport"] == "zeromq"
        self._socket: Any = None
        self._theirs: Any = None
        if self.knocks:
            import zmq  # comes with Salt, and like it is loaded when a bus is first used

            self._out = zmq.POLLOUT
            self._socket = zmq.Context.instance().socket(zmq.REQ)
            self._socket.linger = 0
            self._socket.immediate = True  # else it takes questions for a master that is not there
            self._socket.ipv6 = "[" in address
            self._socket.connect(address)
        else:
            self._theirs = salt.channel.client.ReqChannel.factory(options, crypt="clear", master_uri=address)

    def ask(self, load: Mapping[str, Any], seconds: float) -> Any:
        """What the master answers within *seconds*; after an error this channel is of no use any more.

        Raises:
            NotThere: it was not sent.
            NoAnswer: nothing came that can be read, and nobody can tell what became of the question.
            SaltException: from a transport of Salt's own.
        """
        if self._socket is None:
            try:
                return self._theirs.send(dict(load), tries=1, timeout=seconds)
            except self._salt.exceptions.SaltReqTimeoutError as error:
                raise NoAnswer from error
        packed = self._salt.payload.dumps({"enc": "clear", "load": dict(load), "version": 3})
        if not self._socket.poll(DOOR_TIMEOUT * 1000, self._out):
            raise NotThere
        self._socket.send(packed)
        if not self._socket.poll(seconds * 1000):
            raise NoAnswer
        try:
            return self._salt.utils.msgpack.msgpack.unpackb(self._socket.recv(), unicode_errors="replace")
        except ValueError as error:
            raise NoAnswer from error

    def close(self) -> None:
        """Hang up; what is under way is dropped."""
        if self._socket is not None:
            self._socket.close()
        else:
            self._theirs.close()
