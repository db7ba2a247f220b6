"""The master's side of one RPyC connection: three names that can be called, values in, values out.

Of RPyC's twenty request handlers it keeps what a client needs to find and call a name. Remote objects are
refused, nothing of the peer is ever called, and what a client may refer to is a table of four entries, not
whatever was once sent to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rpyc.core import brine, consts
from rpyc.core.protocol import Connection

from omserver_client.frames import Broken, LimitedChannel, load

#: RPyC's own settings, all shut; the class below does not use most of them.
SHUT = {
    "allow_safe_attrs": False,
    "allow_exposed_attrs": False,
    "allow_public_attrs": False,
    "allow_all_attrs": False,
    "allow_getattr": False,
    "allow_setattr": False,
    "allow_delattr": False,
    "allow_pickle": False,
    "include_local_traceback": False,
    "include_local_version": False,
    "import_custom_exceptions": False,
    "instantiate_custom_exceptions": False,
    "instantiate_oldstyle_exceptions": False,
    "propagate_KeyboardInterrupt_locally": False,
    "propagate_SystemExit_locally": False,
    "bind_threads": False,
    "sync_request_timeout": 5,
    "logger": None,
}

#: What a client calls an object of ours: a name, and two numbers that are not addresses in memory.
Reference = tuple[str, int, int]
ROOT: Reference = ("omserver.Master", 1, 1)


class Objection(Exception):
    """The caller called wrongly; it is told so in clear, with this sentence."""


class Name(NamedTuple):
    """A remote name: what is called, and the exact types that it takes."""

    method: Callable[..., Any]
    takes: tuple[type, ...]


class MasterConnection(Connection):  # type: ignore[misc]  # rpyc has no types
    """Serves ``root.names`` to one client. Only the thread that runs `serve_all` may touch it."""

    def __init__(self, root: Any, channel: LimitedChannel, config: Mapping[str, Any]) -> None:
        super().__init__(root, channel, {**config, **SHUT})
        self._names: Mapping[str, Name] = root.names
        self._references: dict[Reference, Any] = {ROOT: root}
        for number, (name, named) in enumerate(self._names.items(), start=2):
            self._references[(f"omserver.{name}", 2, number)] = named
        self._patience: float = config.get("unproved_until", math.inf)
        self._ending = False

    def trust(self, limit: int) -> None:
        """The client proved its key: it may stay, and send frames of up to *limit* bytes."""
        self._patience = self._channel.stream.until = math.inf
        self._channel.limit = limit

    def end(self) -> None:
        """Close the connection once the answer to the request at hand has been sent."""
        self._ending = True

    def close(self) -> None:
        """Close the connection without a word to the client: RPyC's own close would wait for its answer."""
        if not self._closed:
            self._cleanup()

    def sync_request(self, *_: Any) -> Any:
        """Never: the master does not call its clients."""
        raise AssertionError("the master never calls a client")

    async_request = sync_request

    @classmethod
    def _request_handlers(cls) -> dict[int, Callable[..., Any]]:
        return {
            consts.HANDLE_PING: cls._handle_ping,
            consts.HANDLE_CLOSE: cls._handle_close,
            consts.HANDLE_GETROOT: cls._handle_getroot,
            consts.HANDLE_GETATTR: cls._handle_getattr,
            consts.HANDLE_CALL: cls._handle_call,
            consts.HANDLE_CALLATTR: cls._handle_callattr,
            consts.HANDLE_INSPECT: cls._handle_inspect,
            consts.HANDLE_DEL: cls._handle_del,
        }

    def serve_all(self) -> None:
        """Answer the client until the connection ends. RPyC's own is made for many threads; here is one."""
        try:
            while not self._closed:
                if self._channel.poll(None):
                    self._dispatch(self._channel.recv())
        except EOFError:
            pass
        finally:
            self.close()

    def _send(self, msg: int, seq: Any, args: Any) -> None:
        self._channel.send(bytes((msg,)) + brine.dump((seq, args)))

    def _dispatch(self, data: bytes) -> None:
        self._channel.stream.until = self._patience
        if data[0] != consts.MSG_REQUEST:
            raise Broken("The peer sent an answer to a question that nobody asked.")
        message = load(data)
        if not isinstance(message, tuple) or len(message) != 2:
            raise Broken("The peer sent what is not a request.")
        self._dispatch_request(*message)
        if self._ending:
            raise Broken("The connection ended: the master hung up.")

    def _dispatch_request(self, seq: Any, raw_args: Any) -> None:
        try:
            answer = self._box(self._answer(raw_args))
        except Objection as objection:
            exception = (("builtins", "ValueError"), (str(objection),), (), "")
            self._send(consts.MSG_EXCEPTION, seq, exception)
        else:
            self._send(consts.MSG_REPLY, seq, answer)

    def _answer(self, raw_args: Any) -> Any:
        """Check everything about the call before anything is called."""
        match raw_args:
            case (int(code), (consts.LABEL_VALUE | consts.LABEL_TUPLE, tuple()) as packed):
                if code in self._HANDLERS:
                    return self._HANDLERS[code](self, *self._unbox(packed))
        raise Objection("That cannot be done here: find one of the three names, and call it.")

    def _box(self, value: Any) -> tuple[int, Any]:
        for reference, known in self._references.items():
            if value is known:
                return consts.LABEL_REMOTE_REF, reference
        return consts.LABEL_VALUE, value

    def _unbox(self, package: Any) -> Any:
        label, value = package if type(package) is tuple and len(package) == 2 else (None, None)
        if label == consts.LABEL_VALUE:
            return value
        if label == consts.LABEL_TUPLE and type(value) is tuple:
            return tuple([self._unbox(item) for item in value])
        if label == consts.LABEL_LOCAL_REF and value in self._references:
            return self._references[value]
        raise Objection("Only values are accepted here, no objects.")

    def _handle_ping(self, value: Any = None, *_: Any) -> Any:
        return value

    def _handle_close(self, *_: Any) -> None:
        self.end()

    def _handle_getroot(self, *_: Any) -> Any:
        return self._references[ROOT]

    def _handle_getattr(self, owner: Any = None, name: Any = None, *_: Any) -> Any:
        if owner is not self._references[ROOT] or type(name) is not str or name not in self._names:
            raise Objection(f"There are three names here: {', '.join(self._names)}.")
        return self._names[name]

    def _handle_call(self, named: Any = None, args: Any = (), kwargs: Any = (), *_: Any) -> Any:
        if type(named) is not Name:
            raise Objection("That cannot be called.")
        if type(args) is not tuple or kwargs != () or tuple(map(type, args)) != named.takes:
            wanted = ", ".join(kind.__name__ for kind in named.takes)
            raise Objection(f"It takes ({wanted}), by position, and nothing else.")
        return named.method(*args)

    def _handle_callattr(
        self, owner: Any = None, name: Any = None, args: Any = (), kwargs: Any = (), *_: Any
    ) -> Any:
        return self._handle_call(self._handle_getattr(owner, name), args, kwargs)

    def _handle_inspect(self, reference: Any = None, *_: Any) -> tuple[tuple[str, str], ...]:
        """What RPyC's own client asks about an object before it uses it."""
        if reference == ROOT:
            return tuple((name, "") for name in self._names)
        return (("__call__", ""),)

    def _handle_del(self, *_: Any) -> None:
        """Nothing is kept for the client, so there is nothing to forget."""
