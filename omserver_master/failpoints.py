"""Named places where a crash matters, so that a test can make one happen exactly there.

Nothing happens at any of them unless ``OMSERVER_FAILPOINTS`` says so when the process starts:

    submit.after_commit=kill@3, send.before=sleep:2      at the third passage; at every one
    /a/folder                                            what a file of the place's name in there says

The actions: ``kill`` and ``stop`` send SIGKILL and SIGSTOP to the own process, ``error`` raises
``OSError(EIO)``, ``sleep:SECONDS`` waits. ``@N`` after an action: the N-th passage of this process and no
other. A file in the folder is renamed to ``NAME.done`` before its action is taken: of several processes one
takes it, once.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

VARIABLE = "OMSERVER_FAILPOINTS"
#: Seconds by which a process has certainly stopped that has sent itself SIGSTOP.
STOPPED = 0.2

#: Every place, and where it is. A place is reached by ``reach`` in one line of code each.
PLACES: Final[Mapping[str, str]] = {
    "submit.before_commit": "the job and its hosts are written, not committed",
    "submit.after_commit": "the job is committed, its caller not told",
    "submit.before_answer": "the workers are told of the job, its caller is not",
    "cancel.before_commit": "the wish to cancel is written, not committed",
    "cancel.after_commit": "the wish to cancel is committed, its caller not told",
    "bury.before_commit": "a worker's process has ended; its leases are given up, not committed",
    "claim.before_commit": "a job is claimed, not committed",
    "claim.after_commit": "a job's claim is committed, nothing is done with it",
    "renew.before_commit": "a lease is prolonged, not committed",
    "left.read": "the hosts of a claimed job are read, as the worker before left them",
    "code.started": "the module's code is told to begin",
    "start.before_commit": "it is written that the job runs, not committed",
    "start.after_commit": "it is committed that the job runs, nothing was sent",
    "intent.before_commit": "it is written what is about to be sent where, not committed",
    "intent.after_commit": "it is committed what is about to be sent, nothing was sent",
    "step.before_commit": "an answered step is written together with the next intent, not committed",
    "step.after_commit": "an answered step and the next intent are committed",
    "reason.before_commit": "it is written why the job waits, not committed",
    "reason.after_commit": "it is committed why the job waits",
    "rollout.moved": "the next batch begins, or a question or a stop is due; nothing of it is written",
    "stand.before_commit": "it is written where a job stands in its roll-out, not committed",
    "stand.after_commit": "it is committed where a job stands in its roll-out, nothing of it is done",
    "not_sent.before_commit": "it is written that a dispatch reached nobody, not committed",
    "not_sent.after_commit": "it is committed that a dispatch reached nobody",
    "send.before": "what is about to be sent is committed, and not yet held against the clock",
    "send.now": "the engine is given work at once",
    "answer.heard": "an engine has told a host's answer, the job does not know it",
    "answer.taken": "the job takes a host's answer",
    "answer.handed": "the module's code was handed a host's answer",
    "results.before_commit": "ends of hosts are written, not committed",
    "results.after_commit": "ends of hosts are committed, others follow",
    "finish.before_commit": "the last ends and the job's own are written, not committed",
    "finish.after_commit": "the job's end is committed, nobody was told",
    "release.before_commit": "a stopping worker gives a job back, not committed",
    "release.after_commit": "a stopping worker's job is given back",
    "takeover.before_ask": "the engine is about to be asked what became of work that another worker sent",
    "takeover.asked": "the engine was asked what became of work that another worker sent",
    "cancelling.before_commit": "it is written that the job is being cancelled, not committed",
    "cancelling.after_commit": "it is committed that the job is being cancelled; nobody was stopped",
    "stop.before": "the engine is about to be told to stop",
    "stop.proved": "the engine has said what was stopped; the job does not know it",
    "settle.before_commit": "a job that nobody can do is ended, not committed",
    "settle.after_commit": "a job that nobody can do has its end",
}


def reach(name: str) -> None:
    """This is the place called *name*.

    Raises:
        OSError: a test wanted that here.
    """
    if _acting is not None:
        _acting.reach(name)


class Failpoints:
    """What is to happen where.

    Raises:
        ValueError: *text* names a place or an action that does not exist.
    """

    def __init__(self, text: str) -> None:
        self._folder = Path(text) if text.startswith("/") else None
        given = {} if self._folder else dict(_pair(part) for part in text.split(",") if part.strip())
        self._actions = {name: _action(name, words) for name, words in given.items()}
        self._passed: dict[str, int] = {}
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        """Do what is to happen at *name*, if anything."""
        if self._folder is not None:
            self._look(self._folder / name)
            return
        if (found := self._actions.get(name)) and self._is_time(name, found[1]):
            found[0]()

    def _look(self, file: Path) -> None:
        try:
            act, at = _action(file.name, file.read_text(encoding="utf-8").strip())
            if self._is_time(file.name, at):
                file.rename(file.with_name(file.name + ".done"))
                act()
        except FileNotFoundError:
            return  # nothing is wanted here, or another process was faster

    def _is_time(self, name: str, at: int) -> bool:
        with self._lock:
            self._passed[name] = self._passed.get(name, 0) + 1
            return at in (0, self._passed[name])


def _pair(part: str) -> tuple[str, str]:
    name, _, words = part.strip().partition("=")
    return name, words


def _action(name: str, words: str) -> tuple[Callable[[], None], int]:
    """What *words* ask for, and at which passage: 0 is every one."""
    if name not in PLACES:
        raise ValueError(f"There is no failpoint {name!r}.")
    action, _, at = words.partition("@")
    what, _, value = action.partition(":")
    if what not in _ACTIONS:
        raise ValueError(f"A failpoint can {', '.join(_ACTIONS)}; not {what!r}.")
    return (lambda: _ACTIONS[what](float(value or 1))), int(at or 0)


def _fail(_: float) -> None:
    raise OSError(errno.EIO, "A failpoint made this fail.")


def _stop(_: float) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(STOPPED)  # a signal to a process of many threads does not stop this one at once


_ACTIONS: Final[Mapping[str, Callable[[float], None]]] = {
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "stop": _stop,
    "error": _fail,
    "sleep": time.sleep,
}
_acting = Failpoints(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
