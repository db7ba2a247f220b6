"""OMServer's client: what a program needs that calls the master.

from omserver_client import connect

with connect() as client:
    client.login("admin", "...")
    for result in client.run("1003", ["web-01"])["results"]:
        print(result["host"], result["state"], result["first_line"])
"""

from __future__ import annotations

from .client import Client, connect
from .errors import (
    BadRequest,
    BrokenModule,
    ConfirmationNeeded,
    Forbidden,
    HostMismatch,
    IdempotencyConflict,
    InternalError,
    InvalidParam,
    LoginFailed,
    LoginRequired,
    NotFound,
    NotReached,
    OMServerError,
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
    "LoginFailed",
    "LoginRequired",
    "NotFound",
    "NotReached",
    "OMServerError",
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
