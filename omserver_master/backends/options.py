"""The settings of a kind of connection: declared once, and from that checked, asked for and explained.

settings = (Setting("url", "Where salt-api listens.", "salt-api 的地址。", required=True), ...)
values = read_settings("salt-sz", settings, {"url": "https://10.0.0.5:8000"})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SettingType = Literal["text", "path", "number", "bool", "choice", "words"]

_YES = dict.fromkeys(("1", "yes", "true", "on"), True) | dict.fromkeys(("0", "no", "false", "off"), False)


@dataclass(frozen=True)
class Setting:
    """One setting. *help* is a sentence for people, in English and Chinese.

    A *secret* one is stored encrypted, and never shown again. "words" are a list of
    text, or text with blanks.
    """

    name: str
    help: str
    help_zh: str
    type: SettingType = "text"
    default: Any = None
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()


class BadSetting(ValueError):
    """One setting cannot be used; *setting* is its name."""

    def __init__(self, text: str, setting: str) -> None:
        super().__init__(text)
        self.setting = setting


def read_settings(connection: str, declared: Sequence[Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every declared setting, in its own type.

    Raises:
        BadSetting: one is unknown, missing or wrong; the text names the connection and the setting.
    """
    known = {setting.name: setting for setting in declared}
    for name in given:
        if name not in known:
            names = ", ".join(known) or "none"
            text = f"Connection {connection}: there is no setting {name!r}; there are: {names}."
            raise BadSetting(text, name)
    return {name: _read(connection, setting, given.get(name)) for name, setting in known.items()}


def _read(connection: str, setting: Setting, value: Any) -> Any:
    if value is None or value == "":
        if setting.required:
            text = f"Connection {connection}: {setting.name} is missing. {setting.help}"
            raise BadSetting(text, setting.name)
        return setting.default
    try:
        return _typed(setting, value)
    except (ValueError, TypeError) as error:
        text = f"Connection {connection}: {setting.name}: {error} {setting.help}"
        raise BadSetting(text, setting.name) from error


def _typed(setting: Setting, value: Any) -> Any:
    match setting.type:
        case "number":
            if isinstance(value, bool):
                raise ValueError("It must be a number.")
            return _number(value)
        case "bool":
            if isinstance(value, bool):
                return value
            if str(value).lower() not in _YES:
                raise ValueError("It must be yes or no.")
            return _YES[str(value).lower()]
        case "words":
            words = value.split() if isinstance(value, str) else list(value)
            if not all(isinstance(word, str) for word in words):
                raise ValueError("It must be a list of words.")
            return tuple(words)
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("It must be text.")
    if setting.type == "path" and not value.startswith(("/", "~/")):
        raise ValueError("It must be an absolute path.")
    if setting.choices and value not in setting.choices:
        raise ValueError(f"It must be one of {', '.join(setting.choices)}.")
    return value


def _number(value: Any) -> int | float:
    number = float(value)
    if not 0 <= number < 1e9:
        raise ValueError("It must be a number of 0 or more.")
    return int(number) if number.is_integer() else number
