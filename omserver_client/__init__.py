"""OMServer's client: what a program needs that calls the master.

from omserver_client import connect

with connect() as client:
    client.login("admin", "...")
    for result in client.run("1003", ["web-01"])["results"]:
        print(result["host"], result["state"], result["first_line"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    BadRequest,
    BrokenModule,
    ConfirmationNeeded,
    Forbidden,
    HostMismatch,
    IdempotencyConflict,
    InternalError,
    InvalidParam,
    Locked,
    LoginFailed,
    LoginRequired,
    NotFound,
    NotReached,
    OMServerError,
    PreviewOutdated,
    ProtocolError,
    Refused,
    SealRefused,
    SessionExpired,
    TooMany,
    Unavailable,
    UnknownHost,
    UnknownModule,
)
from .keyfile import BadKeyFile

if TYPE_CHECKING:
    from .client import Client, connect
    from .tls import BadCertificate

__all__ = [
    "BadCertificate",
    "BadKeyFile",
    "BadRequest",
    "BrokenModule",
    "Client",
    "ConfirmationNeeded",
    "Forbidden",
    "HostMismatch",
    "IdempotencyConflict",
    "InternalError",
    "InvalidParam",
    "Locked",
    "LoginFailed",
    "LoginRequired",
    "NotFound",
    "NotReached",
    "OMServerError",
    "PreviewOutdated",
    "ProtocolError",
    "Refused",
    "SealRefused",
    "SessionExpired",
    "TooMany",
    "Unavailable",
    "UnknownHost",
    "UnknownModule",
    "connect",
]


def __getattr__(name: str) -> Any:
    """Load the client, and rpyc with it, when it is first asked for: module code needs only the errors."""
    if name in ("Client", "connect"):
        from . import client

        return getattr(client, name)
    if name == "BadCertificate":
        from . import tls

        return tls.BadCertificate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
