"""A private certificate authority for one site, and the master's own certificate."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from omserver_client.errors import BadRequest
from omserver_client.keyfile import is_key_name

from ..errors import SettingsError

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Names of files in the folder that are not a client's.
RESERVED = ("ca", "master")

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#: The last label has a letter: what is digits and dots only is a mistyped address.
_DNS_NAME = re.compile(rf"({_LABEL}\.)*(?=[0-9-]*[A-Za-z]){_LABEL}")


def check_client(name: str) -> str:
    """*name* itself, if a client's certificate may be called so.

    Raises:
        BadRequest: it is no key name, or is one of `RESERVED`.
    """
    if not is_key_name(name):
        raise BadRequest(
            f"{name!r} is not a client's name: 1 to 64 letters, digits, dots, dashes, underscores.",
            field="name",
        )
    if name.lower() in RESERVED:
        raise BadRequest(f"{name!r} is the name of the site's own certificate.", field="name")
    return name


def check_server_name(name: str) -> str:
    """*name* itself, if it is an address or a DNS name that a certificate can be for.

    Raises:
        BadRequest: it is neither.
    """
    if not (_address(name) or (len(name) <= 253 and _DNS_NAME.fullmatch(name))):
        raise BadRequest(
            f"{name!r} is neither an address nor a host name: letters, digits, dashes and dots.", field="name"
        )
    return name


def make_authority(folder: Path) -> Path:
    """Make ``ca.pem`` and ``ca.key`` in *folder* where they are missing; the path of ``ca.pem``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "ca.pem"
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("OMServer private CA")
        builder = _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        _write(folder / "ca.key", _private(key))
        _write(file, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


def issue(folder: Path, name: str, names: Sequence[str], *, server: bool) -> tuple[Path, Path]:
    """Issue a certificate of the authority in *folder*: ``NAME.pem`` and ``NAME.key`` there.

    *names* are host names and addresses that it is for, of which `check_server_name` thinks well.

    Raises:
        SettingsError: the authority cannot be read.
    """
    authority, signer = _load_authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    use = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(_name(name), authority.subject, key.public_key(), CERTIFICATE_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    builder = builder.add_extension(_authority_of(signer), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(n) for n in names]), False)
    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    _write(private, _private(key))
    _write(pem, certificate)
    return pem, private


def server_context(cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """The master's side of TLS 1.3; with *client_ca*, a client without a certificate of it is turned away.

    Raises:
        SettingsError: a file cannot be read or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(cert, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"TLS_CERT, TLS_KEY or TLS_CLIENT_CA cannot be used: {error}") from error
    return context


def _load_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"The certificate authority in {folder} cannot be used: {error}") from error
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != authority.public_key():
        raise SettingsError(f"The certificate authority in {folder} cannot be used: ca.key is not its key.")
    return authority, signer


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(minutes=5))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _authority_of(signer: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that *name* is, if it is one; one with a zone (``fe80::1%eth0``) is none to others."""
    try:
        return None if "%" in name else ipaddress.ip_address(name)
    except ValueError:
        return None


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 in one move."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
