"""Parameters as words of omctl's command line, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

#: By name, or in order for a module that takes them by position.
Given = dict[str, str | list[str]] | list[str]


def read_params(pairs: Sequence[str], values: Sequence[str] = ()) -> Given:
    """Turn ``NAME=VALUE`` words into parameters; a name given several times becomes a list.

    *values* are those of a module that takes them by position: they are the answer as they are.

    Raises:
        click.UsageError: a word has no name or no ``=``, or there are words of both kinds.
    """
    if values and pairs:
        raise click.UsageError("Parameters are given by name (-p) or by position (--arg), not both.")
    return list(values) if values else _by_name(pairs)


def param_words(params: Mapping[str, Any] | Sequence[Any]) -> list[str]:
    """The words after ``omctl run ID`` that mean *params*, as the master keeps them."""
    if not isinstance(params, Mapping):
        return [word for value in params for word in ("--arg", _text(value))]
    words: list[str] = []
    for name, value in params.items():
        for item in value if isinstance(value, list) else [value]:
            words += ["-p", f"{name}={_text(item)}"]
    return words


def _by_name(pairs: Sequence[str]) -> dict[str, str | list[str]]:
    params: dict[str, str | list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.UsageError(f"A parameter is NAME=VALUE, not {pair!r}.")
        params[name] = _added(params[name], value) if name in params else value
    return params


def _added(before: str | list[str], value: str) -> list[str]:
    return [*before, value] if isinstance(before, list) else [before, value]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
