"""All parameters of a module together: read what a user gave, rebuild them from their description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omserver_client.errors import InvalidParam

from .params import Bool, Choice, Choices, Int, Number, Param, Time
from .texts import Lines, Path, Text

#: What a user may give: values by name, or in the order of the declaration (the 2014 way).
Raw = Mapping[str, Any] | Sequence[Any]


def read_form(params: Sequence[Param], raw: Raw) -> dict[str, Any]:
    """The value of every one of *params*, by name.

    Raises:
        InvalidParam: a value is not acceptable, a required one is missing, or there is one too many.
    """
    given = by_name(params, raw)
    return {param.name: param.read(given.get(param.name)) for param in params}


def by_name(params: Sequence[Param], raw: Raw) -> dict[str, Any]:
    """What the user gave, by name, not yet checked.

    Raises:
        InvalidParam: there is a name or a value that no parameter takes.
    """
    names = [param.name for param in params]
    if isinstance(raw, Mapping):
        for name in raw:
            if name not in names:
                raise _surplus(str(name), names)
        return dict(raw)
    for position, value in enumerate(raw[len(names) :], start=len(names) + 1):
        if value != "":
            raise _surplus(str(position), names)
    return dict(zip(names, raw, strict=False))


def write_form(params: Sequence[Param], values: Mapping[str, Any]) -> dict[str, str | list[str] | bool]:
    """*values*, as `read_form` made them, as JSON that `read_form` reads again."""
    return {param.name: param.to_wire(values[param.name]) for param in params}


def param_from_wire(wire: Mapping[str, Any]) -> Param:
    """The parameter that ``describe`` described; a kind of an author's own counts as what it was made from.

    Raises:
        ValueError: the kind is not known.
    """
    labels = {name: wire[name] for name in ("label", "label_zh", "help", "help_zh")}
    if wire["kind"] not in _BUILDERS:
        raise ValueError(f"There is no kind of parameter called {wire['kind']!r}.")
    param = _BUILDERS[wire["kind"]](wire, {"default": wire["default"], **labels})
    param.name = wire["name"]
    return param


def _text(wire: Mapping[str, Any], common: dict[str, Any]) -> Param:
    names = ("pattern", "max_length", "dash")
    return Text(**{name: wire[name] for name in names}, **common)


def _lines(wire: Mapping[str, Any], common: dict[str, Any]) -> Param:
    names = ("pattern", "max_length", "dash", "max_lines")
    return Lines(**{name: wire[name] for name in names}, **common)


_BUILDERS: dict[str, Callable[[Mapping[str, Any], dict[str, Any]], Param]] = {
    "int": lambda wire, common: Int(minimum=wire["minimum"], maximum=wire["maximum"], **common),
    "number": lambda wire, common: Number(minimum=wire["minimum"], maximum=wire["maximum"], **common),
    "choice": lambda wire, common: Choice(*wire["choices"], **common),
    "choices": lambda wire, common: Choices(*wire["choices"], **common),
    "text": _text,
    "lines": _lines,
    "bool": lambda wire, common: Bool(**common),
    "time": lambda wire, common: Time(**common),
    "path": lambda wire, common: Path(under=wire["under"], **common),
}


def _surplus(name: str, names: Sequence[str]) -> InvalidParam:
    known = f"it takes {', '.join(names)}" if names else "it takes none"
    reason = f"is not a parameter of this module; {known}"
    return InvalidParam(f'"{name}" {reason}.', param=name, reason=reason)
