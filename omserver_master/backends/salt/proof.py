"""The proof that an answer is the host's own: signed there, with the private key that its minion alone has.

In Salt 3008 a minion can make the master file its return under another minion's id. All minions share the key
that jobs are sent with, so that nothing in a job is a secret between them; but each has a key pair of its
own, whose public half the master accepted. See docs/backends/salt.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ..onhost import COMMAND

#: A signature in base64 is shorter than that, for keys up to 8192 bits.
_LONGEST = 1500


def _script(name: str) -> str:
    lines = files(__package__).joinpath(name).read_text().splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() and not line.startswith("#"))


_SIGN = _script("proof.sh")
#: The script that says whether a job runs; its id goes to its standard input.
LOOK = _script("look.sh")
#: The script that does the work of a module.
WORK = COMMAND[2]


def signed_command(jid: str, key: str, script: str) -> list[str]:
    """What is run on the host: *script* for ``/bin/sh``, its line signed under *jid*.

    *key* is the path of the minion's private key; "" finds it, "off" signs nothing.
    """
    return ["/bin/sh", "-c", _SIGN, "omserver", jid, key, script]


@dataclass(frozen=True)
class Said:
    """What came back from a `signed_command`: its *line*, the *signature*, or an *excuse* for none."""

    line: str
    signature: bytes = b""
    excuse: str = ""

    def proved(self, jid: str, public_key: bytes | None) -> bool:
        """Whether the owner of *public_key* (PEM) signed this line under *jid*."""
        if not self.signature or public_key is None:
            return False
        key = _load(public_key)
        if key is None:
            return False
        try:
            key.verify(self.signature, f"omserver-answer-1 {jid}\n{self.line}".encode(), PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


def read_said(content: Any) -> Said | None:
    """What a minion returned from ``cmd.run_all`` of a `signed_command`; None for anything else."""
    text = content.get("stdout") if isinstance(content, Mapping) else None
    if not isinstance(text, str):
        return None
    line, _, last = text.strip("\n").rpartition("\n")
    word, _, proof = last.partition(" ")
    if word != "proof":
        return None
    if proof.startswith("-"):
        excuse = "".join(letter for letter in proof[2:202] if letter.isprintable())
        return Said(line, excuse=excuse or "The host did not sign.")
    try:
        return Said(line, base64.b64decode(proof[:_LONGEST], validate=True))
    except (binascii.Error, ValueError):
        return Said(line, excuse="What stands there is no signature.")


@lru_cache(maxsize=10_000)
def _load(public_key: bytes) -> RSAPublicKey | None:
    try:
        key = load_pem_public_key(public_key)
    except ValueError:
        return None
    return key if isinstance(key, RSAPublicKey) else None
