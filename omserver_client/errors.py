"""Every error that a caller of the master can meet.

OMServerError
├── NotReached (ConnectionError)             the master is down, or did not answer in time
├── SealRefused                              the master could not, or would not, open the message
├── ProtocolError                            the answer was not understood
├── BadKeyFile (ValueError)                  our key file cannot be used; in keyfile.py
├── BadCertificate (ValueError)              nor our certificate, or that of the authority; in tls.py
└── Refused                                  the master understood and said no: .code .text .details
    ├── LoginRequired                        login_required
    ├── LoginFailed                          login_failed
    ├── SessionExpired                       session_expired
    ├── Forbidden                            forbidden             details: module?, hosts?
    ├── BadRequest (ValueError)              bad_request           details: field
    ├── InvalidParam (ValueError)            invalid_param         details: param, reason
    ├── UnknownModule (LookupError)          unknown_module
    ├── BrokenModule                         broken_module         details: module, line, reason
    ├── UnknownHost (LookupError)            unknown_host          details: hosts
    ├── HostMismatch                         host_mismatch         details: host, given, known
    ├── NotFound (LookupError)               not_found
    ├── IdempotencyConflict                  idempotency_conflict
    ├── ConfirmationNeeded                   confirmation_needed   details: number
    ├── PreviewOutdated                      preview_outdated      details: token, digest, counts, ...
    ├── Locked                               locked                details: lock, host, job, user, since
    ├── TooMany                              too_many              details: retry_after (seconds)
    ├── Unavailable                          unavailable
    └── InternalError                        internal              details: request

The master raises the same classes; what crosses the wire is the code, one English sentence and the details.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class OMServerError(Exception):
    """Something went wrong."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text or _summary(type(self)))


class NotReached(OMServerError, ConnectionError):
    """The master is not reachable."""


class SealRefused(OMServerError):
    """The sealed message was refused."""


class ProtocolError(OMServerError):
    """The answer was not understood."""


class Refused(OMServerError):
    """The master refused the request."""

    #: What a program tests; it never changes once published.
    code: str = "refused"

    def __init__(self, text: str = "", **details: Any) -> None:
        super().__init__(text)
        #: One English sentence for people.
        self.text = str(self)
        #: JSON values that say more, by name; which ones depends on the code.
        self.details = details

    def to_wire(self) -> dict[str, Any]:
        """This refusal as the ``error`` of a reply."""
        return {"code": self.code, "text": self.text, "details": dict(self.details)}

    @staticmethod
    def from_wire(error: object) -> Refused:
        """Turn the ``error`` of a reply back into an exception, to be raised by the caller.

        A code that this version does not know becomes a plain `Refused` that carries it.

        Raises:
            ProtocolError: *error* is not the ``error`` of a reply.
        """
        code, text, details = _wire_fields(error)
        refused = _BY_CODE.get(code, Refused)(text)
        refused.code = code
        refused.details = details
        return refused


class LoginRequired(Refused):
    """Nobody is logged in."""

    code = "login_required"


class LoginFailed(Refused):
    """The user name or the password is wrong."""

    code = "login_failed"


class SessionExpired(Refused):
    """The session is over; log in again."""

    code = "session_expired"


class Forbidden(Refused):
    """This user, or this key, may not do that."""

    code = "forbidden"


class BadRequest(Refused, ValueError):
    """The request is not well formed."""

    code = "bad_request"


class InvalidParam(Refused, ValueError):
    """A parameter of the module is not acceptable."""

    code = "invalid_param"


class UnknownModule(Refused, LookupError):
    """There is no such module."""

    code = "unknown_module"


class BrokenModule(Refused):
    """The module's file is broken."""

    code = "broken_module"


class UnknownHost(Refused, LookupError):
    """There is no such host."""

    code = "unknown_host"


class HostMismatch(Refused):
    """The address given for a host is not one of its own."""

    code = "host_mismatch"


class NotFound(Refused, LookupError):
    """There is no such thing, or it may not be seen."""

    code = "not_found"


class IdempotencyConflict(Refused):
    """The idempotency key was used before, for another request."""

    code = "idempotency_conflict"


class ConfirmationNeeded(Refused):
    """That many hosts need a confirmation."""

    code = "confirmation_needed"


class PreviewOutdated(Refused):
    """What was previewed is no longer what would be done; look at the new preview."""

    code = "preview_outdated"


class Locked(Refused):
    """Another job holds a lock that this one would not wait for, or waits for it already."""

    code = "locked"


class TooMany(Refused):
    """Too many tries or connections; wait and try again."""

    code = "too_many"


class Unavailable(Refused):
    """The master cannot do that now; nothing was changed."""

    code = "unavailable"


class InternalError(Refused):
    """The master failed inside; its log says why."""

    code = "internal"


#: Every code that the master answers, and its class.
_BY_CODE: dict[str, type[Refused]] = {cls.code: cls for cls in Refused.__subclasses__()}


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _wire_fields(error: object) -> tuple[str, str, dict[str, Any]]:
    if isinstance(error, Mapping):
        code, text, details = error.get("code"), error.get("text"), error.get("details", {})
        if isinstance(code, str) and isinstance(text, str) and isinstance(details, dict):
            return code, text, details
    raise ProtocolError("The error in the answer was not understood.")
