"""What can go wrong, and the lists by which Func says so.

    ["REMOTE_ERROR", type, text, traceback]

stands in the place of a host's result. Our minions leave the traceback empty.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import xmlrpc.client
from typing import Any

REMOTE_ERROR = "REMOTE_ERROR"
#: The text of the fault by which a minion refuses a method.
DENIED = "<class 'func.minion.codes.AccessToMethodDenied'>:"
_DENIED_END = "AccessToMethodDenied'>:"


class FuncClientError(Exception):
    """The overlord can't do what it was asked; the original called it ``Func_Client_Exception``."""


class FuncError(Exception):
    """A method of a minion says that it can't be done; raise it in your own modules."""


class MalformedMessage(ValueError):
    """The other side sent what is no XML-RPC."""


class WrongMinion(ssl.SSLError):
    """The certificate at the other end belongs to another host."""


class CallFailed(Exception):
    """A call came to no answer. *sent*: whether the minion may have got it. ``__cause__`` says why."""

    def __init__(self, text: str, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


def remote_error(kind: str, text: str, trace: str = "") -> list[str]:
    """The list that stands for an error."""
    return [REMOTE_ERROR, kind, text, trace]


def is_error(value: Any) -> bool:
    """Whether a host's result is such a list."""
    return isinstance(value, list) and bool(value) and value[0] == REMOTE_ERROR


def is_denied(error: BaseException) -> bool:
    """Whether a fault says that the caller may not call the method."""
    text = error.faultString if isinstance(error, xmlrpc.client.Fault) else ""
    return text.rstrip().endswith(_DENIED_END)


def error_of(error: BaseException) -> list[str]:
    """The list for what a call raised, by the names that programs of Func's time look for."""
    if isinstance(error, CallFailed) and error.__cause__ is not None:
        return [*error_of(error.__cause__)[:2], str(error), ""]
    if isinstance(error, xmlrpc.client.Fault):
        return remote_error("xmlrpclib.Fault", repr(error))
    for kind, name in _NAMES:
        if isinstance(error, kind):
            return remote_error(name, str(error))
    return remote_error(f"exceptions.{type(error).__name__}", str(error))


_NAMES: tuple[tuple[type[BaseException], str], ...] = (
    (MalformedMessage, "xml.parsers.expat.ExpatError"),
    (TimeoutError, "socket.timeout"),
    (socket.gaierror, "socket.gaierror"),
    (ssl.SSLError, "OpenSSL.SSL.Error"),
    (http.client.HTTPException, "xmlrpclib.ProtocolError"),
    (OSError, "socket.error"),
)
