"""Certmaster's protocol: a host asks for a certificate over plain HTTP, a person signs, it asks again.

There is no secret in it, and no proof of who is at the other end either: signing is a person's decision, and
a host should know the CA's fingerprint beforehand. Nothing is ever signed by itself.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from .certificates import (
    Authority,
    CertificateError,
    common_name,
    key_pem,
    load_certificate,
    load_request,
    make_request,
    new_key,
    pem,
    write_file,
)
from .door import Door, body_length
from .errors import MalformedMessage
from .subject import fingerprint
from .tls import Identity
from .wire import read_reply, read_request, write_fault, write_request, write_result

log = logging.getLogger(__name__)

#: Seconds between two questions whether the request is signed.
ASK_EVERY = 10.0
_TIMEOUT = 20.0
_MOST_BODY = 64 * 1024
_MOST_WAITING = 1000
_MOST_REPLY = 256 * 1024
_NO_METHOD = "<class 'certmaster.codes.InvalidMethodException'>:"


class CertmasterServer(Door):
    """Takes requests, and hands out what was signed. Anybody may come, so that nobody may stay."""

    most_connections = 100
    first_seconds = 60.0

    def __init__(self, address: tuple[str, int], authority: Authority) -> None:
        self.authority = authority
        super().__init__(address, _Handler)

    def answer(self, method: str, arguments: list[Any]) -> Any:
        """What the protocol says to one call."""
        if method == "trait_names":
            return ["wait_for_cert"]
        if method != "wait_for_cert" or not 1 <= len(arguments) <= 3:
            raise xmlrpc.client.Fault(1, _NO_METHOD)
        reply = list(self._wait_for_cert(arguments[0]))
        # Who names a CA is of a later version, and expects a warning text, too.
        return [*reply, ""] if len(arguments) > 1 and isinstance(arguments[1], str) else reply

    def _wait_for_cert(self, request_text: object) -> tuple[bool, str, str]:
        nothing = (False, "", "")
        try:
            request = load_request(str(request_text))
            name = common_name(request)
            signed = self.authority.cert_file(name)
        except CertificateError as error:
            log.warning("a request is refused: %s", error)
            return nothing
        if signed.exists():
            return True, signed.read_text("ascii"), self.authority.files.ca_cert.read_text("ascii")
        waiting = self.authority.request_file(name)
        if waiting.exists():
            if waiting.read_bytes() != pem(request):
                log.warning("another request of %s came; the first one waits on", name)
        elif len(self.authority.waiting()) >= _MOST_WAITING:
            log.error("the request of %s is refused: %d wait already", name, _MOST_WAITING)
        else:
            self.authority.file_request(request)
            log.info("a request of %s waits to be signed", name)
        return nothing


class _Handler(BaseHTTPRequestHandler):
    server_version = "omserver-func"
    sys_version = ""
    timeout = _TIMEOUT
    server: CertmasterServer

    def do_POST(self) -> None:
        """One question."""
        length, refusal = body_length(self.headers, _MOST_BODY)
        if self.path not in ("/", "/RPC2"):
            self.send_error(404)
        elif refusal:
            self.send_error(refusal)
        else:
            self._answer(self.rfile.read(length))

    def _answer(self, body: bytes) -> None:
        try:
            document = write_result(self.server.answer(*read_request(body)))
        except MalformedMessage:
            self.send_error(400)
            return
        except xmlrpc.client.Fault as fault:
            document = write_fault(fault.faultCode, fault.faultString)
        except OSError:
            log.exception("a request could not be kept")
            document = write_fault(1, "<type 'exceptions.IOError'>:")
        self.send_response(200)
        self.send_header("Content-type", "text/xml")
        self.send_header("Content-length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s: " + format, self.client_address[0], *args)


@dataclass(frozen=True)
class Enrolment:
    """One host on its way to a certificate. Its files are *identity*'s, and the request beside the key.

    *ca_fingerprint* is the SHA-256 of the CA's certificate, in hexadecimal; ``""`` takes any CA at first.
    """

    name: str
    identity: Identity
    ca_fingerprint: str = ""

    @property
    def request_file(self) -> Path:
        """The signing request."""
        return self.identity.key.with_suffix(".csr")

    def prepare(self) -> bytes:
        """The request in PEM; key and request are made where they are missing."""
        if not self.identity.key.exists():
            write_file(self.identity.key, key_pem(new_key()), 0o600)
            self.request_file.unlink(missing_ok=True)
        if not self.request_file.exists():
            write_file(self.request_file, pem(make_request(self.name, self._key())), 0o644)
        return self.request_file.read_bytes()

    def ask(self, host: str, port: int) -> bool:
        """Ask the certmaster once; True: the certificates are here and stored.

        Raises:
            OSError: it is not reached, or answers no HTTP.
            CertificateError: what it gives is not ours, or of another CA.
        """
        answer = _call(host, port, "wait_for_cert", [self.prepare().decode("ascii")])
        if not isinstance(answer, list) or len(answer) < 3:
            raise CertificateError("The certmaster's answer has no form that we know.")
        if answer[0] is not True:
            return False
        self.store(str(answer[1]), str(answer[2]))
        return True

    def wait(self, host: str, port: int, seconds: float, tell: Callable[[str], None]) -> bool:
        """Ask every ten seconds until it is signed, or *seconds* are over."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self.ask(host, port):
                    return True
                tell(f"The request of {self.name} waits at {host} to be signed.")
            except OSError as error:
                tell(f"The certmaster {host}:{port} is not reached: {error}")
            if time.monotonic() + ASK_EVERY > deadline:
                return False
            time.sleep(ASK_EVERY)

    def store(self, cert_text: str, ca_text: str) -> None:
        """Keep certificate and CA, after a look at them.

        Raises:
            CertificateError: they are not what they should be; nothing is stored.
        """
        try:
            certificate, ca = load_certificate(cert_text.encode()), load_certificate(ca_text.encode())
        except ValueError as error:
            raise CertificateError("What the certmaster gave is no certificate.") from error
        seen = fingerprint(ssl.PEM_cert_to_DER_cert(pem(ca).decode("ascii")))
        wanted = self.ca_fingerprint.replace(":", "").lower()
        if wanted and seen != wanted:
            raise CertificateError(f"The CA there has the fingerprint {seen}, not the one that was named.")
        if self.identity.ca.exists() and self.identity.ca.read_bytes().strip() != ca_text.encode().strip():
            raise CertificateError(f"{self.identity.ca} holds another CA; it stays as it is.")
        if certificate.public_key() != self._key().public_key():
            raise CertificateError(
                f"The certificate there belongs to another key: clean {self.name} there, and ask again."
            )
        try:
            certificate.verify_directly_issued_by(ca)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise CertificateError("The certificate there was not signed by the CA there.") from error
        if common_name(certificate).lower() != self.name.lower():
            raise CertificateError(f"The certificate there is for {common_name(certificate)!r}.")
        write_file(self.identity.ca, ca_text.encode(), 0o644)
        write_file(self.identity.cert, cert_text.encode(), 0o644)

    def _key(self) -> RSAPrivateKey:
        key = serialization.load_pem_private_key(self.identity.key.read_bytes(), password=None)
        if not isinstance(key, RSAPrivateKey):
            raise CertificateError(f"{self.identity.key} is no RSA key.")
        return key


def _call(host: str, port: int, method: str, arguments: list[Any]) -> Any:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("POST", "/RPC2", write_request(method, arguments), {"Content-Type": "text/xml"})
        response = connection.getresponse()
        if response.status != 200:
            raise OSError(f"HTTP status {response.status}")
        return read_reply(response.read(_MOST_REPLY))
    except (http.client.HTTPException, MalformedMessage, xmlrpc.client.Fault, socket.gaierror) as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
