"""A certificate authority in plain files, laid out as certmaster laid them out.

An existing pair of CA key and certificate is used as it is, whatever made it. New certificates: SHA-256,
subject alternative names, and a role: a minion's certificate calls nobody, a caller's serves nobody.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .config import MasterFiles
from .subject import pem_to_der, subject_of

Role = Literal["minion", "caller", "both"]
CA_DAYS = 3650
CERT_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|[0-9a-fA-F:.]{2,45}")
_EKU = {
    "minion": [ExtendedKeyUsageOID.SERVER_AUTH],
    "caller": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}


class CertificateError(Exception):
    """A certificate can't be made; the text says why."""


def check_name(name: str) -> str:
    """*name*, if it can be that of a host and of a file.

    Raises:
        CertificateError: it can't.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise CertificateError(f"{name!r} is no host name: letters, digits, dots and hyphens.")
    return name


def new_key() -> RSAPrivateKey:
    """A key of RSA 2048, which all of Func's peers understand."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one move; it never has wider permissions than *mode*."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def key_pem(key: RSAPrivateKey) -> bytes:
    """The key as a file holds it; never written with wider permissions than 0600."""
    plain = serialization.NoEncryption()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain
    )


def pem(certificate: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """As PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def load_certificate(content: bytes) -> x509.Certificate:
    """A certificate; also one with serial number 0, as certmaster's CAs have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.load_pem_x509_certificate(content)


def load_request(content: bytes | str) -> x509.CertificateSigningRequest:
    """A signing request.

    Raises:
        CertificateError: it is none, or its name is no host's.
    """
    try:
        request = x509.load_pem_x509_csr(content.encode() if isinstance(content, str) else content)
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        raise CertificateError("This is no certificate signing request.") from error
    if len(names) != 1:
        raise CertificateError("The request must hold one common name.")
    check_name(common_name(request))
    return request


def common_name(of: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The first common name of a subject, or ``""``."""
    names = of.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def make_request(name: str, key: RSAPrivateKey) -> x509.CertificateSigningRequest:
    """Ask for a certificate for the host *name*."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_name(name))])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


class Authority:
    """A CA and what it has signed, in the folders of *files*."""

    def __init__(self, files: MasterFiles) -> None:
        self.files = files

    def create(self, name: str) -> None:
        """Make the CA's key and certificate.

        Raises:
            CertificateError: there is one.
        """
        if self.files.ca_key.exists() or self.files.ca_cert.exists():
            raise CertificateError(f"There is a CA in {self.files.ca_folder} already; it stays as it is.")
        key = new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}-CA-KEY")])
        usage = _usage(digital_signature=True, key_cert_sign=True, crl_sign=True)
        certificate = (
            _builder(subject, subject, key.public_key(), x509.random_serial_number(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_file(self.files.ca_key, key_pem(key), 0o600)
        write_file(self.files.ca_cert, pem(certificate), 0o644)

    def waiting(self) -> list[str]:
        """The hosts whose requests are not signed."""
        return _stems(self.files.csr_root, ".csr")

    def signed(self) -> list[str]:
        """The hosts that have a certificate."""
        return _stems(self.files.cert_root, ".cert")

    def request_file(self, name: str) -> Path:
        """Where the request of *name* waits."""
        return self.files.csr_root / f"{check_name(name)}.csr"

    def cert_file(self, name: str) -> Path:
        """Where the certificate of *name* is kept."""
        return self.files.cert_root / f"{check_name(name)}.cert"

    def file_request(self, request: x509.CertificateSigningRequest) -> None:
        """Let a request wait until somebody signs it; one that waits already stays."""
        path = self.request_file(common_name(request))
        if not path.exists():
            write_file(path, pem(request), 0o644)

    def sign_waiting(self, name: str, *, role: Role = "minion", accept_md5: bool = False) -> Path:
        """Sign the request of *name* that waits, file the certificate, and give its path.

        Raises:
            CertificateError: it can't be signed; the text says why.
        """
        path = self.request_file(name)
        try:
            request = load_request(path.read_bytes())
        except OSError as error:
            raise CertificateError(f"No request of {name} waits in {self.files.csr_root}.") from error
        if common_name(request) != name:
            raise CertificateError(f"The request in {path} is for {common_name(request)!r}, not for {name}.")
        certificate = self.sign(request, role=role, accept_md5=accept_md5)
        write_file(self.cert_file(name), pem(certificate), 0o644)
        path.unlink()
        return self.cert_file(name)

    def sign(
        self, request: x509.CertificateSigningRequest, *, role: Role = "minion", accept_md5: bool = False
    ) -> x509.Certificate:
        """A certificate for what *request* asks for.

        Raises:
            CertificateError: the request is not signed by its own key, or wants to be the CA itself.
        """
        ca_key, ca_cert = self._load()
        _check_request(request, accept_md5)
        public_key = request.public_key()
        if not isinstance(public_key, RSAPublicKey):
            raise CertificateError("Func knows RSA keys only.")
        builder = _builder(request.subject, ca_cert.subject, public_key, self._next_serial(), CERT_DAYS)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_EKU[role]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_alternative(common_name(request))]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(_authority_key(ca_cert), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        der = serialization.Encoding.DER
        if subject_of(certificate.public_bytes(der)) == subject_of(pem_to_der(self.files.ca_cert)):
            raise CertificateError("The request wants the CA's own name, which may call everything.")
        return certificate

    def clean(self, names: Sequence[str]) -> list[Path]:
        """Forget the requests and certificates whose names match; give the files that are gone."""
        gone = []
        for path, name in self._all_files():
            if any(fnmatchcase(name.lower(), pattern.lower()) for pattern in names):
                path.unlink(missing_ok=True)
                gone.append(path)
        return gone

    def matching(self, patterns: Sequence[str], names: Sequence[str]) -> list[str]:
        """Those of *names* that match one of *patterns*."""
        return [name for name in names if any(fnmatchcase(name.lower(), one.lower()) for one in patterns)]

    def _all_files(self) -> Iterator[tuple[Path, str]]:
        for folder, end in ((self.files.csr_root, ".csr"), (self.files.cert_root, ".cert")):
            for name in _stems(folder, end):
                yield folder / f"{name}{end}", name

    def _load(self) -> tuple[RSAPrivateKey, x509.Certificate]:
        try:
            key = serialization.load_pem_private_key(self.files.ca_key.read_bytes(), password=None)
            certificate = load_certificate(self.files.ca_cert.read_bytes())
        except OSError as error:
            raise CertificateError(f"The CA can't be read: {error}.") from error
        except (ValueError, TypeError) as error:
            raise CertificateError(f"The CA in {self.files.ca_folder} can't be used: {error}") from error
        if not isinstance(key, RSAPrivateKey):
            raise CertificateError("Func knows RSA keys only.")
        return key, certificate

    def _next_serial(self) -> int:
        path = self.files.ca_folder / "serial.txt"
        try:
            serial = int(path.read_text(encoding="ascii")) + 1
        except (OSError, ValueError):
            serial = 1
        write_file(path, f"{serial}\n".encode(), 0o644)
        return serial


def _check_request(request: x509.CertificateSigningRequest, accept_md5: bool) -> None:
    name = common_name(request)
    if isinstance(request.signature_hash_algorithm, hashes.MD5):
        if not accept_md5:
            raise CertificateError(
                f"The request of {name} is signed with MD5, as Func's own were; say --accept-md5 to sign it."
            )
        if not _is_md5_valid(request):
            raise CertificateError(f"The request of {name} is not signed by its own key.")
    elif not request.is_signature_valid:
        raise CertificateError(f"The request of {name} is not signed by its own key.")


def _is_md5_valid(request: x509.CertificateSigningRequest) -> bool:
    key = request.public_key()
    if not isinstance(key, RSAPublicKey):
        return False
    try:
        key.verify(request.signature, request.tbs_certrequest_bytes, padding.PKCS1v15(), hashes.MD5())  # noqa: S303
    except InvalidSignature:
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, key: RSAPublicKey, serial: int, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC) - timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _authority_key(ca_cert: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = ca_cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)
    except x509.ExtensionNotFound:
        key = ca_cert.public_key()
        assert isinstance(key, RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _stems(folder: Path, end: str) -> list[str]:
    try:
        return sorted(file.name.removesuffix(end) for file in folder.iterdir() if file.name.endswith(end))
    except OSError:
        return []
