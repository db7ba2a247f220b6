"""Transactions of several threads, committed at once: each waits for the disk, and all of them for one time.

On SQLite, where one transaction at a time writes, that is the only way to more commits than the disk has. The
others gather commits that come at the same time by themselves, but each of them costs both sides more than
its statements do, and appends to the audit's chain wait for each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from .engine import transact

T = TypeVar("T")
Work = Callable[[Connection], Any]

#: So many transactions are committed at once: other processes wait for the lock meanwhile.
MOST: Final = 16

_LINES: WeakKeyDictionary[Engine, _Line] = WeakKeyDictionary()
_lock = threading.Lock()


def transact_together(engine: Engine, work: Callable[[Connection], T]) -> T:
    """As `engine.transact`, in one commit with what other threads want at the same time.

    *work* may run in another of these threads, so it must not wait for what its own thread holds; and it may
    run again, alone, if that of another one raises something.

    Raises:
        Unavailable: as `engine.transact`.
    """
    with _lock:
        line = _LINES.setdefault(engine, _Line())
    found: T = line.wait_for(engine, work)
    return found


class _Spoiled(Exception):
    """One of several failed: nothing may be left of what it did, so nothing is of the others' either."""


class _Task:
    """One transaction that was asked for: what it answered, or what it raised."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.done = False
        self.answer: Any = None
        self.error: BaseException | None = None

    def part(self, conn: Connection) -> None:
        """Do it as a part of a transaction.

        A savepoint before each part would save the others from being done again; but most often none
        fails, and it costs as much as two statements.

        Raises:
            _Spoiled: it failed.
        """
        try:
            self.answer = self.work(conn)
        except BaseException as error:
            raise _Spoiled from error

    def alone(self, engine: Engine) -> None:
        """Do it as a transaction of its own."""
        self.error = None
        try:
            self.answer = transact(engine, self.work)
        except BaseException as error:  # noqa: BLE001 -- as above
            self.error = error


class _Line:
    """Those who wait: the first commits what all wanted who have come while the one before committed."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._waiting: list[_Task] = []

    def wait_for(self, engine: Engine, work: Work) -> Any:
        task = _Task(work)
        self._waiting.append(task)
        with self._turn:
            while not task.done:
                self._commit(engine)
        if task.error is not None:
            raise task.error
        return task.answer

    def _commit(self, engine: Engine) -> None:
        """Do what those want who have waited longest."""
        tasks = self._waiting[:MOST]
        del self._waiting[: len(tasks)]
        together = len(tasks) > 1 and _settled_together(engine, tasks)
        for task in tasks:
            if not together:
                task.alone(engine)
            task.done = True


def _settled_together(engine: Engine, tasks: list[_Task]) -> bool:
    """Do all of *tasks* in one transaction; False: nothing was done, since one of them spoils the others."""

    def work(conn: Connection) -> None:
        for task in tasks:
            task.part(conn)

    try:
        transact(engine, work)
    except _Spoiled:
        return False
    except BaseException as error:  # noqa: BLE001 -- there was no lock, or the commit failed: each has to hear it
        for task in tasks:
            task.error = error
    return True
