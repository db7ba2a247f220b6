"""Texts that a module brings in two languages, and what its parameters ask for, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_babel import get_locale
from flask_babel import gettext as _

from .visible import shown


def chinese() -> bool:
    """Whether this request is answered in Chinese."""
    locale = get_locale()
    return locale is not None and locale.language == "zh"


def local(thing: Mapping[str, Any], name: str) -> str:
    """The text *name* of a module, job or parameter in the person's language.

    What nobody said in Chinese is said in English; what nobody said in English is not said in Chinese.
    A title is often the first sentence of a file: it stands here without its full stop.
    """
    own = f"{name}_zh" if chinese() else name
    text = shown(thing.get(own) or thing.get(name) or "")
    return text.rstrip(".。") if name == "title" else text


def choice_label(choice: Any) -> str:
    """The label of one [value, label, label_zh] of a parameter."""
    parts = [choice] if isinstance(choice, str) else list(choice)
    value, label, label_zh = (parts + [""] * 3)[:3]
    return shown((label_zh if chinese() else "") or label or value)


def choice_value(choice: Any) -> str:
    """The value of one choice of a parameter."""
    return str(choice if isinstance(choice, str) else choice[0])


def rule(param: Mapping[str, Any]) -> str:
    """What may be in the field of *param*, as one sentence; nothing where anything may."""
    kind = param["kind"]
    if kind == "bool":
        return _("Yes or no.")
    if kind == "lines":
        return _("One entry on each line.")
    if kind in ("int", "number"):
        return _range(param)
    if kind in ("choice", "choices"):
        return _("Choose from the list.")
    if kind == "time":
        return _("A time of day, like 03:30 or 03:30:15.")
    if kind == "path":
        return _("A full path, beginning with a slash.")
    return _text_rule(param)


def setting_rule(setting: Mapping[str, Any]) -> str:
    """What may be in the field of a *setting* of a connection, as one sentence."""
    rules = {
        "number": _("A number."),
        "bool": _("Yes or no."),
        "choice": _("Choose from the list."),
        "path": _("A full path, beginning with a slash."),
        "words": _("Several are divided by blanks."),
    }
    return rules.get(setting["type"], _("This value cannot be used."))


def setting_help(setting: Mapping[str, Any]) -> str:
    """What a *setting* of a connection is for."""
    return shown((setting["help_zh"] if chinese() else "") or setting["help"])


def setting_text(value: object) -> str:
    """The *value* of a setting as its field holds it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _range(param: Mapping[str, Any]) -> str:
    low, high = param.get("minimum"), param.get("maximum")
    bounds = {"low": low, "high": high}
    whole = param["kind"] == "int"
    if low is not None and high is not None:
        return (
            _("A whole number from %(low)s to %(high)s.", **bounds)
            if whole
            else _("A number from %(low)s to %(high)s.", **bounds)
        )
    if low is not None:
        return _("A number, %(low)s or more.", **bounds)
    if high is not None:
        return _("A number, %(high)s or less.", **bounds)
    return _("A whole number.") if whole else _("A number.")


def _text_rule(param: Mapping[str, Any]) -> str:
    sentences = []
    if param.get("max_length"):
        sentences.append(_("At most %(count)s characters.", count=param["max_length"]))
    if param.get("pattern"):
        sentences.append(_("It must look like %(pattern)s", pattern=shown(param["pattern"])))
    return " ".join(sentences)
