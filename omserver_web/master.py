"""The way to the master: the only file that knows `omserver_client`.

Views call `ask`, which adds the session of the person who clicked. What a view gets is the master's reply, or
one of the client's errors, which `errors.py` turns into pages.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from flask import current_app, g

from omserver_client import Client, connect
from omserver_client.errors import (
    BadRequest,
    BrokenModule,
    ConfirmationNeeded,
    Forbidden,
    IdempotencyConflict,
    InvalidParam,
    LoginFailed,
    LoginRequired,
    NotFound,
    NotReached,
    OMServerError,
    PreviewOutdated,
    Refused,
    SessionExpired,
    TooMany,
    Unavailable,
    UnknownHost,
    UnknownModule,
)

__all__ = [
    "BadRequest",
    "BrokenModule",
    "ConfirmationNeeded",
    "Forbidden",
    "IdempotencyConflict",
    "InvalidParam",
    "LoginFailed",
    "LoginRequired",
    "Master",
    "NotFound",
    "NotReached",
    "OMServerError",
    "PreviewOutdated",
    "Refused",
    "RemoteMaster",
    "SessionExpired",
    "TooMany",
    "Unavailable",
    "UnknownHost",
    "UnknownModule",
    "ask",
    "current_master",
]

Reply = dict[str, Any]

#: How long a request of a page may take, in seconds.
DEADLINE = 20.0
#: How many connections are kept open while nobody needs them.
KEPT = 8


class Master(Protocol):
    """What the console needs of a master; tests bring one of their own."""

    def call(
        self,
        op: str,
        args: Mapping[str, Any],
        *,
        session: str | None = None,
        key: str | None = None,
        wait: float = 0.0,
    ) -> Reply:
        """Ask for *op*; *wait* is how many seconds the master itself may wait before it answers."""

    def reachable(self) -> bool:
        """Whether the master can be talked to now."""


class RemoteMaster:
    """The master behind its RPyC port, over a few connections that are opened when needed.

    A connection serves one request at a time, and none carries a login of its own: who acts is said in every
    message.
    """

    def __init__(self, host: str, port: int, key_file: Path) -> None:
        self._address = (host, port)
        self._key_file = key_file
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue()

    def call(
        self,
        op: str,
        args: Mapping[str, Any],
        *,
        session: str | None = None,
        key: str | None = None,
        wait: float = 0.0,
    ) -> Reply:
        """Ask for *op*.

        Raises:
            NotReached: the master is down, or did not answer in time; whether it acted is not known.
            Refused: it said no.
        """
        with self._client() as client:
            return client.call(op, args, session=session, key=key, deadline=DEADLINE + wait)

    def reachable(self) -> bool:
        """Whether the master can be talked to now."""
        try:
            with self._client() as client:
                client.ping()
        except OMServerError:
            return False
        return True

    @contextmanager
    def _client(self):
        client = self._take()
        try:
            yield client
        except Refused:
            self._give_back(client)
            raise
        except BaseException:
            client.close()
            raise
        self._give_back(client)

    def _take(self) -> Client:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return connect(*self._address, key=self._key_file, timeout=DEADLINE)

    def _give_back(self, client: Client) -> None:
        if self._idle.qsize() < KEPT:
            self._idle.put(client)
        else:
            client.close()


def current_master() -> Master:
    """The master of this application."""
    return current_app.extensions["master"]


def ask(op: str, *, key: str | None = None, wait: float = 0.0, **args: Any) -> Reply:
    """Ask the master for *op* as the person who is signed in.

    Arguments that are None are left out: the master's own default counts.
    """
    given = {name: value for name, value in args.items() if value is not None}
    return current_master().call(op, given, session=g.get("session_token"), key=key, wait=wait)
