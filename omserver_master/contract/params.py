"""Parameters that a module declares. What a user typed arrives here and leaves as a checked value.

    lines = Int(default=50, maximum=1000, label="Lines", label_zh="行数")
    service = Choice("nginx", ("mysql", "MySQL or MariaDB"))

A parameter without a default is required; empty text means the default. One declaration checks the API and
the command line, draws the form (`describe`), and documents itself.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from omserver_client.errors import InvalidParam

from .mistakes import ModuleMistake

_SHOWN = 60


class Param:
    """One parameter. A kind implements `parse`, and where its value is not text, `text`."""

    kind: ClassVar[str] = ""

    def __init__(
        self, *, default: Any = None, label: str = "", label_zh: str = "", help: str = "", help_zh: str = ""
    ) -> None:
        self.name = ""
        self.default = default
        self.label, self.label_zh = label, label_zh
        self.help, self.help_zh = help, help_zh

    def __set_name__(self, owner: type, name: str) -> None:
        # The first name counts: `stdin = body` refers to the parameter `body`, it does not rename it.
        self.name = self.name or name

    @property
    def required(self) -> bool:
        """The user has to give a value, because there is no default."""
        return self.default is None

    def read(self, raw: object) -> Any:
        """Turn what the user gave into a value; nothing, or empty text, means the default.

        Raises:
            InvalidParam: the value is not acceptable; its details are ``param`` and ``reason``.
        """
        if raw is None or raw == "" or raw == []:
            if self.default is None:
                raise self.refuse("is required")
            raw = self.default
        return self.parse(raw)

    def parse(self, raw: Any) -> Any:
        """Turn *raw*, which is not empty unless the default is, into a value."""
        raise TypeError(f"{type(self).__name__} is not a kind of parameter.")

    def text(self, value: Any) -> str:
        """The value as text: what an environment variable holds and a preview shows."""
        return str(value)

    def words(self, value: Any) -> tuple[str, ...]:
        """The value as words of a command line; each is quoted as one word."""
        return (self.text(value),)

    def to_wire(self, value: Any) -> str | list[str] | bool:
        """The value as JSON, such that `read` understands it."""
        return self.text(value)

    def refuse(self, reason: str, raw: object = None) -> InvalidParam:
        """The error that says why *raw* is not acceptable; raise it."""
        shown = "" if raw is None else f", not {_shorten(raw)}"
        return InvalidParam(f'The parameter "{self.name}" {reason}{shown}.', param=self.name, reason=reason)

    def check(self) -> None:
        """Look at the declaration itself, once the name is known.

        Raises:
            ModuleMistake: the default or a label is not acceptable.
        """
        if not all(isinstance(text, str) for text in (self.label, self.label_zh, self.help, self.help_zh)):
            raise ModuleMistake(self.name, "labels and help are text")
        if self.default is not None:
            try:
                self.parse(self.default)
            except InvalidParam as error:
                raise ModuleMistake(self.name, f"its default {error.details['reason']}") from error

    def describe(self) -> dict[str, Any]:
        """This parameter as JSON: everything a form, a command line or another check needs."""
        default = None if self.required else self.to_wire(self.parse(self.default))
        label = self.label or self.name.replace("_", " ").capitalize()
        return {
            "name": self.name,
            "kind": self.kind,
            "label": label,
            "label_zh": self.label_zh or label,
            "help": self.help,
            "help_zh": self.help_zh or self.help,
            "default": default,
            "required": self.required,
            **self.limits(),
        }

    def limits(self) -> dict[str, Any]:
        """What `describe` adds for this kind."""
        return {}


class Int(Param):
    """A whole number from *minimum* to *maximum*."""

    kind = "int"

    def __init__(self, default: int | None = None, *, minimum: int = 1, maximum: int, **labels: str) -> None:
        super().__init__(default=default, **labels)
        self.minimum, self.maximum = minimum, maximum

    def parse(self, raw: Any) -> int:
        reason = f"must be a whole number from {self.minimum} to {self.maximum}"
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise self.refuse(reason, raw)
        if not re.fullmatch(r"-?[0-9]{1,18}", str(raw)) or not self.minimum <= int(raw) <= self.maximum:
            raise self.refuse(reason, raw)
        return int(raw)

    def limits(self) -> dict[str, Any]:
        return {"minimum": self.minimum, "maximum": self.maximum}


class Number(Param):
    """A decimal number from *minimum* to *maximum*; the value is a `decimal.Decimal`, so 0.10 stays 0.10."""

    kind = "number"

    def __init__(
        self, default: float | str | None = None, *, minimum: float = 0, maximum: float, **labels: str
    ) -> None:
        super().__init__(default=default, **labels)
        self.minimum, self.maximum = minimum, maximum

    def parse(self, raw: Any) -> Decimal:
        reason = f"must be a number from {self.minimum} to {self.maximum}"
        if isinstance(raw, bool) or not isinstance(raw, int | float | str | Decimal):
            raise self.refuse(reason, raw)
        if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", str(raw)):
            raise self.refuse(reason, raw)
        if not Decimal(str(self.minimum)) <= Decimal(str(raw)) <= Decimal(str(self.maximum)):
            raise self.refuse(reason, raw)
        return Decimal(str(raw))

    def limits(self) -> dict[str, Any]:
        return {"minimum": self.minimum, "maximum": self.maximum}


class Choice(Param):
    """One of a list of words. A word may bring its labels: ``("mysql", "MySQL", "MySQL 数据库")``."""

    kind = "choice"

    def __init__(self, *choices: str | Sequence[str], default: Any = None, **labels: str) -> None:
        super().__init__(default=default, **labels)
        self.choices = [_choice(choice) for choice in choices]

    @property
    def values(self) -> list[str]:
        """The words themselves, in the order declared."""
        return [value for value, _, _ in self.choices]

    def parse(self, raw: Any) -> Any:
        if not isinstance(raw, str) or raw not in self.values:
            raise self.refuse(self._reason(), raw)
        return raw

    def check(self) -> None:
        if not self.choices or len(set(self.values)) < len(self.values):
            raise ModuleMistake(self.name, "needs words to choose from, each once")
        bad = [value for value in self.values if not re.fullmatch(r"[^\s,\0-][^\s,\0]*", value)]
        if bad:
            raise ModuleMistake(self.name, f"{bad[0]!r} is no choice: no spaces, commas or leading '-'")
        super().check()

    def limits(self) -> dict[str, Any]:
        return {"choices": [list(choice) for choice in self.choices]}

    def _reason(self) -> str:
        return f"must be one of: {', '.join(self.values)}"


class Choices(Choice):
    """Some of a list of words, at least one: a list, or text with commas. The value is a tuple."""

    kind = "choices"

    def parse(self, raw: Any) -> tuple[str, ...]:
        picked = [word.strip() for word in raw.split(",")] if isinstance(raw, str) else raw
        if not isinstance(picked, list | tuple) or not picked:
            raise self.refuse(self._reason(), raw)
        for word in picked:
            super().parse(word)
        return tuple(value for value in self.values if value in picked)

    def text(self, value: tuple[str, ...]) -> str:
        return "\n".join(value)

    def words(self, value: tuple[str, ...]) -> tuple[str, ...]:
        return value

    def to_wire(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def limits(self) -> dict[str, Any]:
        return {**super().limits(), "multiple": True}

    def _reason(self) -> str:
        return f"must be some of: {', '.join(self.values)}"


class Bool(Param):
    """Yes or no. In a command it is the author's word *yes* or *no*, or no word where that is ""."""

    kind = "bool"
    _TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

    def __init__(self, default: bool = False, *, yes: str = "true", no: str = "false", **labels: str) -> None:
        super().__init__(default=default, **labels)
        self.yes, self.no = yes, no

    def parse(self, raw: Any) -> bool:
        if isinstance(raw, bool):
            return raw
        if not isinstance(raw, str) or raw.lower() not in self._TRUE + self._FALSE:
            raise self.refuse("must be true or false", raw)
        return raw.lower() in self._TRUE

    def text(self, value: bool) -> str:
        return "true" if value else "false"

    def words(self, value: bool) -> tuple[str, ...]:
        word = self.yes if value else self.no
        return (word,) if word else ()

    def to_wire(self, value: bool) -> bool:
        return value


class Time(Param):
    """A time of day, ``HH:MM`` or ``HH:MM:SS``; the value is a `datetime.time`."""

    kind = "time"

    def __init__(self, default: str | None = None, **labels: str) -> None:
        super().__init__(default=default, **labels)

    def parse(self, raw: Any) -> datetime.time:
        if not isinstance(raw, str) or not re.fullmatch(r"([01][0-9]|2[0-3])(:[0-5][0-9]){1,2}", raw):
            raise self.refuse("must be a time of day like 03:30", raw)
        return datetime.time.fromisoformat(raw)

    def text(self, value: datetime.time) -> str:
        return value.isoformat("auto" if value.second else "minutes")


def _choice(choice: str | Sequence[str]) -> tuple[str, str, str]:
    value, *labels = (choice,) if isinstance(choice, str) else choice
    label = labels[0] if labels else value
    return value, label, labels[1] if len(labels) > 1 else label


def _shorten(raw: object) -> str:
    shown = repr(raw)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
