"""Contexts for TLS: which authority vouches for the master, and which certificate is ours."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from .errors import OMServerError


class BadCertificate(OMServerError, ValueError):
    """A certificate, or its key, cannot be used."""


def client_context(ca: str | Path, cert: str | Path = "", key: str | Path = "") -> ssl.SSLContext:
    """A context that accepts only what the authority *ca* vouches for, by its host name, over TLS 1.3.

    *cert* and *key* are files of the client's own certificate, where the master asks for one.

    Raises:
        BadCertificate: a file cannot be read or is no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca))
        if cert:
            context.load_cert_chain(str(cert), str(key) or None)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"{ca}{f' or {cert}' if cert else ''} cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def context_from_environment(environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """The context that OMSERVER_CA_FILE, OMSERVER_CLIENT_CERT and OMSERVER_CLIENT_KEY ask for, if any.

    Raises:
        BadCertificate: as `client_context`.
    """
    ca, cert, key = (
        environment.get(f"OMSERVER_{name}", "") for name in ("CA_FILE", "CLIENT_CERT", "CLIENT_KEY")
    )
    return client_context(ca, cert, key) if ca else None
