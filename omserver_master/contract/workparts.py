"""What all kinds of work have in common: how their fields are checked and written down."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence


def assign(work: object, **fields: object) -> None:
    """Set fields of a frozen piece of work, while it is made."""
    for name, value in fields.items():
        object.__setattr__(work, name, value)


def check_argv(argv: Sequence[str] | None) -> tuple[str, ...] | None:
    """*argv* as a tuple.

    Raises:
        ValueError: it is no list of text.
    """
    if isinstance(argv, str) or (argv is not None and not all(isinstance(word, str) for word in argv)):
        raise ValueError(f"Arguments are a list of text, not {argv!r}.")
    return tuple(argv) if argv is not None else None


def check_env(env: Mapping[str, str] | None) -> dict[str, str]:
    """Variables as text.

    Raises:
        ValueError: one holds a NUL.
    """
    variables = {name: str(value) for name, value in (env or {}).items()}
    refuse_nul(*variables, *variables.values())
    return variables


def as_bytes(content: bytes | str) -> bytes:
    """Text becomes UTF-8."""
    return content.encode() if isinstance(content, str) else bytes(content)


def refuse_nul(*texts: str) -> None:
    """No engine can carry a NUL.

    Raises:
        ValueError: there is one.
    """
    if any("\0" in text for text in texts):
        raise ValueError("A NUL cannot be sent to a host in a command, a path or a variable.")


def to_base64(content: bytes) -> str:
    """Bytes for JSON."""
    return base64.b64encode(content).decode("ascii")


def from_base64(text: str) -> bytes:
    """What `to_base64` wrote."""
    return base64.b64decode(text, validate=True)
