"""Keeps one conversation with the master going: connects, notices a lost connection, tries once more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .conversation import Conversation
from .errors import NotReached
from .keyfile import Key
from .messages import LIFE, Request
from .transport import Transport

#: Waits, in seconds, before trying again after a full master turned a new connection away.
_TURNED_AWAY = (0.1, 0.3, 0.9)
#: Until the master has opened a first message, it takes smaller frames than it announces.
_LARGEST_FIRST = 900_000

#: Makes the plaintext of a request, given the master's clock.
Writer = Callable[[float], bytes]


class Link:
    """One conversation at a time, made by *dial* when it is needed. Threads wait for each other."""

    def __init__(self, dial: Callable[[], Transport], key: Key, greeting_timeout: float) -> None:
        self._dial = dial
        self._key = key
        self._greeting_timeout = greeting_timeout
        self._lock = threading.Lock()
        self._conversation: Conversation | None = None

    def open(self) -> None:
        """Connect now."""
        with self._lock:
            self._connected()

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        with self._lock:
            self._drop()

    def ask(self, write: Writer, timeout: float, *, again: bool) -> bytes:
        """Ask through ``call``; *again*: once more if the connection is lost before the answer.

        Raises:
            NotReached: there was no answer; the master may have acted all the same.
        """

        def ask(conversation: Conversation) -> bytes:
            plaintext = write(conversation.now())
            if len(plaintext) > _LARGEST_FIRST and not conversation.proved:
                conversation.ask(_small_talk(conversation.now()), timeout)
            return conversation.ask(plaintext, timeout)

        return self._asked(ask, again)

    def ask_task(self, write: Writer, timeout: float) -> bytes:
        """Ask through ``Runcommands``, once more if the connection is lost before the answer."""
        return self._asked(lambda talk: talk.ask_task(write(talk.now()), timeout), again=True)

    def ping(self, timeout: float) -> None:
        """Ask for the greeting again.

        Raises:
            NotReached: it did not come.
        """
        with self._lock:
            self._connected().greet(timeout)

    def _asked(self, ask: Callable[[Conversation], bytes], again: bool) -> bytes:
        with self._lock:
            try:
                return self._attempt(ask)
            except NotReached as error:
                if not (again and _hung_up(error)):
                    raise
            return self._attempt(ask)

    def _attempt(self, ask: Callable[[Conversation], bytes]) -> bytes:
        """Ask, and let nobody find the conversation as an interrupted question leaves it."""
        conversation = self._connected()
        try:
            return ask(conversation)
        except BaseException:
            self._drop()
            raise

    def _connected(self) -> Conversation:
        if self._conversation and not self._conversation.usable():
            self._drop()
        if self._conversation is None:
            self._conversation = self._greeted()
        return self._conversation

    def _greeted(self) -> Conversation:
        for pause in _TURNED_AWAY:
            try:
                return Conversation(self._dial(), self._key, self._greeting_timeout)
            except NotReached as error:
                if not _hung_up(error):
                    raise
            time.sleep(pause)
        return Conversation(self._dial(), self._key, self._greeting_timeout)

    def _drop(self) -> None:
        if self._conversation:
            self._conversation.close()
            self._conversation = None


def _hung_up(error: NotReached) -> bool:
    """Whether the master answered the phone, and the connection ended then."""
    return isinstance(error.__cause__, EOFError)


def _small_talk(now: float) -> bytes:
    return Request("auth.whoami", {}, now + LIFE).to_json()
