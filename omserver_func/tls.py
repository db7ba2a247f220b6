"""TLS for both sides: two profiles, and never SSLv3.

* `modern`: TLS 1.2 or newer at OpenSSL's default security level.
* `legacy`: TLS 1.0 or newer at security level 0, for certificates as certmaster made them (SHA-1).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

from .subject import pem_to_der, validity_of

Profile = Literal["modern", "legacy"]
PROFILES: tuple[str, ...] = ("modern", "legacy")
#: A certificate that ends sooner is worth a word.
SOON = timedelta(days=30)


@dataclass(frozen=True)
class Identity:
    """The files by which one side shows who it is, and knows the other: PEM, the key without a password."""

    ca: Path
    cert: Path
    key: Path


def client_context(identity: Identity, profile: str = "modern") -> ssl.SSLContext:
    """For an overlord. The caller compares the name: see `names_of`.

    Raises:
        OSError: a file can't be read, or is not accepted (`ssl.SSLError`).
        ValueError: there is no such profile.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _filled(context, identity, profile)


def server_context(identity: Identity, profile: str = "modern") -> ssl.SSLContext:
    """For a minion: asks every caller for a certificate of the same CA. Raises like `client_context`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # No session is taken up again: each connection shows its certificate anew.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_ciphers("DEFAULT")
    return _filled(context, identity, profile)


def _filled(context: ssl.SSLContext, identity: Identity, profile: str) -> ssl.SSLContext:
    if profile not in PROFILES:
        raise ValueError(f"The TLS profile is one of {', '.join(PROFILES)}, not {profile!r}.")
    if profile == "legacy":
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=identity.ca)
    context.load_cert_chain(identity.cert, identity.key, password=_no_password)
    return context


def _no_password() -> str:
    raise OSError("The key is locked with a password; a daemon can't type one.")


def names_of(certificate: dict[str, Any]) -> set[str]:
    """All names in what `SSLSocket.getpeercert` says, in small letters: common name, DNS names, addresses."""
    names = {value for rdn in certificate.get("subject", ()) for kind, value in rdn if kind == "commonName"}
    names |= {value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")}
    return {str(name).lower() for name in names}


def peer_names(sock: ssl.SSLSocket) -> set[str]:
    """The names of the other side, which has proved that the certificate is its own."""
    return names_of(cast("dict[str, Any]", sock.getpeercert() or {}))


def break_off(sock: socket.socket) -> None:
    """Wake whoever waits on *sock*, which stays theirs to close. From any thread.

    `ssl.SSLSocket.shutdown` takes TLS off first: for a moment another thread would write in clear.
    """
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def why_unusable(identity: Identity, now: datetime | None = None) -> str:
    """Why these files can't be used now, in one line; ``""`` if they can."""
    for what, path in (("CA's certificate", identity.ca), ("certificate", identity.cert)):
        reason = _why_unusable(what, path, now or datetime.now(UTC))
        if reason:
            return reason
    try:
        with identity.key.open("rb"):
            return ""
    except OSError as error:
        return f"The key {identity.key} can't be read: {error.strerror}."


def _why_unusable(what: str, path: Path, now: datetime) -> str:
    try:
        validity = validity_of(pem_to_der(path))
    except OSError as error:
        return f"The {what} {path} can't be read: {error.strerror}."
    except ValueError:
        return f"The {what} {path} is no certificate in PEM form."
    if now > validity.end:
        return f"The {what} {path} expired on {validity.end:%Y-%m-%d}."
    if now < validity.begin:
        return f"The {what} {path} holds only from {validity.begin:%Y-%m-%d %H:%M} UTC on."
    return ""


def expires_soon(identity: Identity, now: datetime | None = None) -> str:
    """One line for each certificate that ends within 30 days; ``""`` if none does."""
    now = now or datetime.now(UTC)
    ends = ((path, validity_of(pem_to_der(path)).end) for path in (identity.ca, identity.cert))
    return " ".join(f"{path} expires on {end:%Y-%m-%d}." for path, end in ends if end - now < SOON)
