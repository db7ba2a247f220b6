"""Values for Ansible as YAML in which every text is marked ``!unsafe``: a value, never a template.

Without the mark, ``{{ lookup('pipe', '...') }}`` in a parameter would run a program on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def unsafe_yaml(value: Any) -> bytes:
    """*value* (what JSON can hold) as one line of YAML."""
    return (_write(value) + "\n").encode("ascii")


def _write(value: Any) -> str:
    if isinstance(value, str):
        return f"!unsafe {_quote(value)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quote(str(key))}: {_write(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_write(each) for each in value) + "]"
    return json.dumps(value)


def _quote(text: str) -> str:
    """*text* in double quotes; what is not plain ASCII by its number, so that YAML changes nothing."""
    return '"' + "".join(_escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if " " <= char <= "~":
        return char
    if "\ud800" <= char <= "\udfff":
        return "\\U0000FFFD"
    return f"\\U{ord(char):08X}"
