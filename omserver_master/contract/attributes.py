"""The attributes of a module class: an error names the attribute and what it may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..backends import KINDS
from .locknames import are_lock_names
from .mistakes import ModuleMistake
from .params import Param
from .rollout import RolloutMistake, check_together, read_rollout

#: Names that mean nothing yet and will mean something: ignoring one could run a command as the wrong user.
NOT_YET = ("run_as", "table", "verify", "per_host")
#: Names that instances use, so that no parameter may have them.
INSTANCE_NAMES = ("moduleid", "hosts", "values", "command", "script", "run", "steps", "driver", "dry_run")

_MOST_OUTPUT = 64 * 1024 * 1024
_DAY = 86_400


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _DAY


def return_codes(value: Any) -> tuple[int, ...]:
    """The attribute ``ok`` as a tuple; one code may be written alone."""
    return value if isinstance(value, tuple) else (value,)


def _is_return_codes(value: object) -> bool:
    codes = return_codes(value)
    return bool(codes) and all(_is_whole(code, 0, 255) for code in codes)


def _is_engines(value: object) -> bool:
    return isinstance(value, tuple) and all(name in KINDS for name in value)


def _is_env(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
        and isinstance(text, str | Param)
        for name, text in value.items()
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_rollout(value: object) -> bool:
    """A module knows no host by its name."""
    if not isinstance(value, Mapping) or "canary" in value:
        return False
    if not isinstance(value.get("spread", ""), str):
        return False
    try:
        check_together(read_rollout(value))
    except RolloutMistake:
        return False
    return True


#: attribute -> (is it acceptable?, what is allowed)
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "repeat": (
        lambda value: value in ("read_only", "idempotent", "once"),
        '"read_only", "idempotent" or "once"',
    ),
    "timeout": (_is_seconds, f"seconds, more than 0, at most {_DAY}"),
    "ok": (_is_return_codes, "return codes from 0 to 255, like 0, 1"),
    "output": (lambda value: _is_whole(value, 1, _MOST_OUTPUT), f"bytes, from 1 to {_MOST_OUTPUT}"),
    "most_hosts": (lambda value: value is None or _is_whole(value, 1, 1_000_000), "a whole number, or None"),
    "risk": (lambda value: value in ("low", "medium", "high"), '"low", "medium" or "high"'),
    "title_zh": (_is_text, "text"),
    "caption_zh": (_is_text, "text"),
    "stdin": (lambda value: isinstance(value, str | bytes | Param), "text, bytes or a parameter"),
    "env": (_is_env, "a dict of names and texts or parameters"),
    "engines": (_is_engines, f"a tuple of: {', '.join(KINDS)}"),
    "rollout": (_is_rollout, 'a dict of roll-out options, like {"batch": "10%", "stop_after": "3"}'),
    "lock": (are_lock_names, '"host", or a name of letters, digits and . _ -, or a tuple of those'),
    "check": (
        lambda value: isinstance(value, bool | str | tuple | dict),
        "True or False, or, of a ShellModule, the command of a dry run",
    ),
}


def check_attributes(cls: type) -> None:
    """Check every attribute that *cls* itself sets.

    Raises:
        ModuleMistake: one is not what it may be.
    """
    for name, value in vars(cls).items():
        if name in NOT_YET:
            raise ModuleMistake(name, "is not known to this version of OMServer")
        accepts, allowed = _RULES.get(name, (None, ""))
        if accepts and not accepts(value):
            raise ModuleMistake(name, f"may be {allowed}; it is {value!r}")


def declared_params(cls: type) -> dict[str, Param]:
    """The parameters that *cls* itself declares, checked, by name.

    Raises:
        ModuleMistake: a name or a declaration is not acceptable.
    """
    own = {name: value for name, value in vars(cls).items() if isinstance(value, Param)}
    params = {name: param for name, param in own.items() if not _is_reference(name, param)}
    for name, param in params.items():
        _check_name(cls, name)
        if param.name != name:
            raise ModuleMistake(name, f"is the same parameter as {param.name}; declare each once")
        param.check()
    return params


def _is_reference(name: str, param: Param) -> bool:
    return name == "stdin" and param.name != name


def _check_name(cls: type, name: str) -> None:
    inherited = next((vars(base)[name] for base in cls.__mro__[1:] if name in vars(base)), None)
    if name in INSTANCE_NAMES or (inherited is not None and not isinstance(inherited, Param)):
        raise ModuleMistake(name, "is a name that every module uses; a parameter needs another one")
    if name in NOT_YET:
        raise ModuleMistake(name, "is a name kept for later; a parameter needs another one")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise ModuleMistake(
            name, "the name of a parameter is small letters, digits and _, beginning with a letter"
        )
