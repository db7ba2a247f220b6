"""What the contract tests need of a kind of connection: real hosts, and a look at them past the engine.

A kind has one file ``rigs/<kind>.py`` (``salt-api`` is ``salt_api.py``) with one subclass of `Rig`. A kind
without one fails the suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, ClassVar

from omserver_master.backends import Backend, Target, make_backend
from omserver_master.contract.work import Run


class NotPossible(Exception):
    """This kind has no such thing (a control point, a host that can be switched off), and the text says why.

    Whoever raises it stands in ``promises.py`` with that reason; a test compares both.
    """


class Rig(ABC):
    """Real hosts of one kind. Made once a test run; every test leaves it as it was: all up, nothing running.

    Every method may be called while dispatches are under way, from any thread.
    """

    #: The kind of connection, as in ``omserver_master.backends.KINDS``.
    kind: ClassVar[str]
    #: Whether results can be had after ``kill -9`` of the process that sent the work, by the handle.
    #: Where not, reattaching answers ``unknown`` with a reason.
    survives_worker: ClassVar[bool] = True
    #: Whether all hosts are one machine with one file system and one list of processes (as `local` is).
    one_machine: ClassVar[bool] = False
    #: The seconds that this kind may take to call a host that is off ``unreachable``.
    patience: ClassVar[float] = 15.0
    #: A command that tells the hosts apart; see `who_is`.
    who: ClassVar[Run] = Run(["hostname"])

    #: The settings of a connection, as they stand in its row (secret ones included).
    settings: Mapping[str, Any]
    #: At least two ordinary hosts, all up, with ``/bin/sh`` and the usual small tools.
    #: The last one is the one that `stop_host` is tried on.
    hosts: Sequence[Target]

    def __init__(self, shared: Callable[[str], Any]) -> None:
        """Do nothing yet. ``shared("fleet")`` is the value of a session fixture of that name."""
        self.shared = shared

    @abstractmethod
    def start(self) -> None:
        """Bring up the hosts and set `settings` and `hosts`; all of them answer when this returns."""

    @abstractmethod
    def stop(self) -> None:
        """Leave no process and no file behind. Called also when `start` failed half-way."""

    def backend(self, name: str = "contract") -> Backend:
        """A new engine on this connection, with nothing in common with others; the caller closes it."""
        return make_backend(self.kind, name, self.settings)

    def who_is(self, host: Target) -> bytes:
        """What `who` prints on *host*, without blanks around it: by default the engine's name for it."""
        return (host.remote_id or host.name).encode()

    @abstractmethod
    def many(self, number: int) -> Sequence[Target]:
        """That many hosts to be reached at once, all up. Several may be one machine under several addresses.

        `who` is tried on them, too. Reached through a connection with the same `settings`.
        """

    @abstractmethod
    def processes(self, host: Target) -> Sequence[str]:
        """The command lines of all that runs on *host* now, looked at past the engine."""

    @abstractmethod
    def read(self, host: Target, path: str) -> bytes | None:
        """The content of a file on *host*, past the engine; None if there is none."""

    @abstractmethod
    def stop_host(self, host: Target) -> None:
        """Cut *host* off as a power failure does: at once, with all that runs on it.

        Raises:
            NotPossible: the only host is this machine.
        """

    @abstractmethod
    def start_host(self, host: Target) -> None:
        """Bring *host* back; it answers when this returns."""

    @abstractmethod
    def stop_control(self) -> None:
        """Stop the engine's own control point: Salt's master, the process that an adapter depends on.

        Raises:
            NotPossible: there is nothing between us and the hosts.
        """

    @abstractmethod
    def start_control(self) -> None:
        """Start it again; all hosts answer when this returns."""

    @abstractmethod
    def lie(self, liar: Target, victim: Target) -> AbstractContextManager[Callable[[], int]]:
        """While open, *liar* does its best to answer in the name of *victim*, whatever job it sees.

        It gives a function: how many lies were told so far. A forged answer should hold the word FORGED.

        Raises:
            NotPossible: no host of this kind can speak at all but in its own place.
        """


def load_rig(kind: str) -> type[Rig]:
    """The rig of a *kind* of connection.

    Raises:
        LookupError: there is none.
    """
    name = f"tests.contract.rigs.{kind.replace('-', '_')}"
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise LookupError(f"The kind {kind} has no rig: tests/contract/rigs/ lacks its file.") from error
    found = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Rig) and getattr(thing, "kind", None) == kind
    ]
    if len(found) != 1:
        raise LookupError(f"{name} must hold exactly one Rig of the kind {kind}.")
    return found[0]
