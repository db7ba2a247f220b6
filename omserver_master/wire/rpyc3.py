"""The few messages of RPyC 3 that a program of 2014 sends, answered as the original answered them.

Such a program asks for the root, inspects it, gets ``login`` or ``Runcommands``, calls it, and closes.
Nothing else is understood, nothing is ever asked back, and what it names is looked up among two names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rpyc.core import brine, consts

from omserver_client.frames import Broken, LimitedChannel, load

from .bridge import Bridge, OldClient

#: The first byte of what RPyC 3 sends, a tuple of three; today's RPyC begins with a message type, 1 to 3.
FIRST_BYTE: Final = brine.TAG_TUP3[0]
#: What the original told of its root when it was inspected: names and documentation, as its RPyC had them.
#: A client of then looks ``login`` up because it does not stand here, and so does what was recorded.
_ROOT_METHODS: Final = (
    (b"_rpyc_setattr", None),
    (
        b"__subclasshook__",
        b"Abstract classes can override this to customize issubclass().\n\nThis is invoked early on by"
        b" abc.ABCMeta.__subclasscheck__().\nIt should return True, False or NotImplemented.  If it"
        b" returns\nNotImplemented, the normal algorithm is used.  Otherwise, it\noverrides the normal"
        b" algorithm (and the outcome is cached).",
    ),
    (b"exposed_Runcommands", None),
    (b"on_connect", b"called when the connection is established"),
    (b"__format__", b"default object formatter"),
    (
        b"on_disconnect",
        b"called when the connection had already terminated for cleanup\n(must not perform any IO on the"
        b" connection)",
    ),
    (b"exposed_login", None),
    (b"_rpyc_getattr", None),
    (b"_rpyc_delattr", None),
    (b"__sizeof__", b"__sizeof__() -> int\nsize of object in memory, in bytes"),
)
_BOUND: Final = (b"instancemethod", b"__builtin__")


class Objection(Exception):
    """The program asked for something that is not here; it is told so."""


class FirstFrame(LimitedChannel):
    """A channel whose first frame can be looked at before anybody reads it."""

    __slots__ = ("_first",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._first: bytes | None = None

    def peek(self) -> bytes:
        """The next frame; it stays the next."""
        if self._first is None:
            self._first = super().recv()
        return self._first

    def poll(self, timeout: Any) -> bool:
        """Whether there is a frame to read within *timeout* seconds."""
        return self._first is not None or bool(super().poll(timeout))

    def recv(self) -> bytes:
        """The next frame's payload."""
        first, self._first = self._first, None
        return super().recv() if first is None else first


class Responder:
    """Answers one program of 2014 on *channel* until it closes.

    Args:
        unproved_until: until when, on the monotonic clock, a first good task must have come.
    """

    def __init__(
        self, channel: LimitedChannel, client: OldClient, bridge: Bridge, unproved_until: float
    ) -> None:
        self._channel = channel
        self._bridge = bridge
        self._patience = unproved_until
        self._ending = False
        self._root = bridge.number()
        #: The two names, by the number that the client was given; of each the last number counts.
        self._numbers: dict[bytes, int] = {}
        self._methods: dict[bytes, tuple[Callable[..., str | None], int]] = {
            b"login": (client.login, 2),
            b"Runcommands": (client.runcommands, 1),
        }
        client.line = self

    def trust(self, limit: int) -> None:
        """A good task came: the program may stay, and send frames of up to *limit* bytes."""
        self._patience = self._channel.stream.until = float("inf")
        self._channel.limit = limit

    def end(self) -> None:
        """Close the connection once the answer to the request at hand has been sent."""
        self._ending = True

    def serve(self) -> None:
        """Answer until the program closes.

        Raises:
            Broken: it broke a rule, took too long, or is gone.
        """
        while not self._ending:
            self._channel.poll(None)
            payload = self._channel.recv()
            self._channel.stream.until = self._patience
            self._respond(*_read(payload))

    def _respond(self, seq: Any, handler: Any, args: Any) -> None:
        try:
            answer = self._do(handler, args)
        except Objection as objection:
            error = ((b"exceptions", b"ValueError"), (str(objection).encode(),), (), b"")
            self._say(consts.MSG_EXCEPTION, seq, error)
            return
        if handler != consts.HANDLE_CLOSE:
            self._say(consts.MSG_REPLY, seq, answer)

    def _say(self, kind: int, seq: Any, what: Any) -> None:
        self._channel.send(brine.dump((kind, seq, what)))

    def _do(self, handler: Any, args: Any) -> tuple[int, Any]:
        match handler, args:
            case consts.HANDLE_GETROOT, _:
                return consts.LABEL_REMOTE_REF, (self._root, b"ManagerService", b"__main__")
            case consts.HANDLE_INSPECT, (self._root,):
                return consts.LABEL_VALUE, _ROOT_METHODS
            case consts.HANDLE_INSPECT, (int(),):
                return consts.LABEL_VALUE, ((b"__call__", None),)
            case consts.HANDLE_GETATTR, (self._root, name):
                return consts.LABEL_REMOTE_REF, (self._number(_plain(name)), *_BOUND)
            case consts.HANDLE_CALL, (int(number), tuple(given), ()):
                return consts.LABEL_VALUE, self._call(self._name(number), given)
            case consts.HANDLE_CALLATTR, (self._root, name, tuple(given), ()):
                return consts.LABEL_VALUE, self._call(_plain(name), given)
            case consts.HANDLE_PING, (value,):
                return consts.LABEL_VALUE, value
            case consts.HANDLE_DEL, _:
                return consts.LABEL_VALUE, None
            case consts.HANDLE_CLOSE, _:
                self.end()
                return consts.LABEL_VALUE, None
        raise Objection("That cannot be done here: there are login(user, passwd) and Runcommands(string).")

    def _number(self, name: bytes) -> int:
        if name not in self._methods:
            raise Objection("There are two names here: login, Runcommands.")
        self._numbers[name] = self._bridge.number()
        return self._numbers[name]

    def _name(self, number: int) -> bytes:
        for name, given in self._numbers.items():
            if given == number:
                return name
        raise Objection("There is no such object.")

    def _call(self, name: bytes, given: tuple[Any, ...]) -> bytes | None:
        if name not in self._methods:
            raise Objection("There are two names here: login, Runcommands.")
        method, count = self._methods[name]
        texts = tuple(_text(word) for word in given)
        if len(texts) != count:
            raise Objection(f"{name.decode()} takes {count} texts.")
        answer = method(*texts)
        return answer.encode() if isinstance(answer, str) else None


def _read(payload: bytes) -> tuple[Any, Any, Any]:
    """The request in a frame: its number, its handler and its arguments by value.

    Raises:
        Broken: it is no request.
    """
    match load(b"\0" + payload):  # where today's message type would stand
        case (consts.MSG_REQUEST, int(seq), (int(handler), boxed)):
            return seq, handler, _unbox(boxed)
    raise Broken("The peer sent what is not a request.")


def _unbox(package: Any) -> Any:
    """A value by itself; an object of ours by its number. Objects of the client are nothing here."""
    match package:
        case (consts.LABEL_VALUE | consts.LABEL_LOCAL_REF, value):
            return value
        case (consts.LABEL_TUPLE, tuple(items)):
            return tuple(map(_unbox, items))
    raise Broken("The peer sent an object of its own.")


def _plain(name: Any) -> bytes:
    """The name that is meant, with or without RPyC's prefix; its own type where it is none."""
    word = name.encode("utf-8", "replace") if isinstance(name, str) else name
    return word.removeprefix(b"exposed_") if isinstance(word, bytes) else b""


def _text(word: Any) -> str:
    """A text of Python 2, which is bytes or unicode."""
    try:
        if isinstance(word, bytes):
            return word.decode()
        if isinstance(word, str):
            word.encode()
            return word
    except UnicodeError:
        pass
    raise Objection("Texts in UTF-8 are taken here, and nothing else.")
