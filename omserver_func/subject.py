"""What a certificate says: its subject's name and hash, and until when it holds.

    subject_of(der).key    # "web-01.lab.test-1441670551", by which a minion's ACLs know a caller

Reads the bytes itself: certificates of Func's time (serial number 0, SHA-1, version 1) must be read, too.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_COMMON_NAME = bytes.fromhex("550403")
#: ASN.1 string types that OpenSSL compares as text -> their encoding.
_TEXT = {
    12: "utf-8",
    19: "ascii",
    20: "latin-1",
    22: "latin-1",
    26: "ascii",
    28: "utf-32-be",
    30: "utf-16-be",
}
_BLANKS = re.compile(r"[ \t\n\v\f\r]+")
_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Subject:
    """Who a certificate is about. *hash* is OpenSSL's subject hash."""

    common_name: str
    hash: int

    @property
    def key(self) -> str:
        """The name that ACLs are written for: the common name and the hash in decimal digits."""
        return f"{self.common_name}-{self.hash}"


@dataclass(frozen=True)
class Validity:
    """From when to when a certificate holds."""

    begin: datetime
    end: datetime


def pem_to_der(path: Path) -> bytes:
    """The first certificate of a PEM file.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds no certificate.
    """
    found = _PEM.search(path.read_text(encoding="ascii", errors="replace"))
    if not found:
        raise ValueError(f"{path} holds no certificate.")
    return ssl.PEM_cert_to_DER_cert(found.group())


def subject_of(certificate: bytes) -> Subject:
    """The subject of a certificate in DER.

    Raises:
        ValueError: it can't be read.
    """
    rdns = _children(_fields(certificate)[4][1])
    names = [
        _text(*pair[1]) or ""
        for _, rdn in rdns
        for pair in map(_pair, _children(rdn))
        if pair[0] == _COMMON_NAME
    ]
    canonical = b"".join(_canonical_rdn(rdn) for _, rdn in rdns)
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()
    return Subject(names[0] if names else "", int.from_bytes(digest[:4], "little"))


def validity_of(certificate: bytes) -> Validity:
    """The validity of a certificate in DER.

    Raises:
        ValueError: it can't be read.
    """
    begin, end = (_time(tag, content) for tag, content in _children(_fields(certificate)[3][1])[:2])
    return Validity(begin, end)


def fingerprint(certificate: bytes) -> str:
    """The SHA-256 of a certificate in DER, as 64 hexadecimal digits."""
    return hashlib.sha256(certificate).hexdigest()


def _fields(certificate: bytes) -> list[tuple[int, bytes]]:
    """Serial number, algorithm, issuer, validity, subject, ... of a certificate."""
    whole = _children(_children(certificate)[0][1])
    fields = _children(whole[0][1])
    fields = fields[1:] if fields and fields[0][0] == 0xA0 else fields
    if len(fields) < 6:
        raise ValueError("This is no certificate.")
    return fields


def _children(content: bytes) -> list[tuple[int, bytes]]:
    """The (tag, content) of all DER values in *content*."""
    found, at = [], 0
    while at < len(content):
        tag, start, end = _head(content, at)
        found.append((tag, content[start:end]))
        at = end
    if not found:
        raise ValueError("This is no certificate.")
    return found


def _head(content: bytes, at: int) -> tuple[int, int, int]:
    if at + 2 > len(content):
        raise ValueError("The certificate is cut off.")
    tag, size, start = content[at], content[at + 1], at + 2
    if size >= 0x80:
        count = size & 0x7F
        size, start = int.from_bytes(content[start : start + count], "big"), start + count
    if start + size > len(content):
        raise ValueError("The certificate is cut off.")
    return tag, start, start + size


def _pair(value: tuple[int, bytes]) -> tuple[bytes, tuple[int, bytes]]:
    oid, content = _children(value[1])[:2]
    return oid[1], content


def _text(tag: int, content: bytes) -> str | None:
    encoding = _TEXT.get(tag)
    return content.decode(encoding, "replace") if encoding else None


def _canonical_rdn(rdn: bytes) -> bytes:
    """One part of a name as OpenSSL hashes it: UTF-8, small ASCII letters, single blanks."""
    pairs = []
    for oid, (tag, content) in map(_pair, _children(rdn)):
        text = _text(tag, content)
        if text is not None:
            tag, content = 12, _BLANKS.sub(" ", text.strip(" \t\n\v\f\r")).translate(_UPPER).encode()
        pairs.append(_der(0x30, _der(6, oid) + _der(tag, content)))
    return _der(0x31, b"".join(sorted(pairs)))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii", "replace")
    if tag == 23:  # two digits of the year; from 50 on it is 19..
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
