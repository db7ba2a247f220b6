"""Parameters for the eye: what a job or a check was given, and which fields a module has on the Run page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask_babel import gettext as _

from .speech import local

Params = Mapping[str, Any] | Sequence[Any]

#: The field for parameters that have a place instead of a name. Its kind is known to the console only.
PLACES = "places"


def pairs(params: Params | None, between: str = ", ") -> list[tuple[str, str]]:
    """*params* as (name, text) in their order; those of an old module are named by their place, from 1.

    *between* stands between the entries of a list.
    """
    named: Iterable[tuple[object, object]] = (
        params.items() if isinstance(params, Mapping) else enumerate(params or (), start=1)
    )
    return [(str(name), text(value, between)) for name, value in named]


def text(value: object, between: str = ", ") -> str:
    """The *value* of a parameter in words; *between* stands between the entries of a list."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, (list, tuple)):
        return between.join(map(text, value))
    return str(value)


def takes_places(module: Mapping[str, Any]) -> bool:
    """Whether *module* declares no parameters and takes any number of them, by their place."""
    return bool(module["direct"]) and not module["params"]


def with_fields(module: Mapping[str, Any]) -> dict[str, Any]:
    """*module* with one field for all parameters, where they have places and no names."""
    if not takes_places(module):
        return dict(module)
    field = {"name": PLACES, "kind": PLACES, "label": _("Parameters"), "label_zh": "", "default": None}
    words = {"help": _("One on each line, in the order that the module takes them."), "help_zh": ""}
    return {**module, "params": [{**field, **words, "required": False}]}


def field_of(module: Mapping[str, Any], name: object) -> Mapping[str, Any] | None:
    """The field of *module* in which the parameter *name* (or the one at that place) is filled in."""
    fields: Sequence[Mapping[str, Any]] = module["params"]
    if any(each["kind"] == PLACES for each in fields):
        return fields[0]
    return next((each for each in fields if each["name"] == name), None)


def label(param: Mapping[str, Any]) -> str:
    """What the field of *param* is called."""
    return local(param, "label") or str(param["name"])
