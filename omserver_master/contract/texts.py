"""Parameters that are free text: one line, several lines, a path.

Free text is what attacks are made of. It is always one quoted word, or an environment variable, never a part
of the text of a command; and it has to match a pattern. A value that begins with "-" would be taken for an
option by most programs, so it is refused unless the author says ``dash=True`` (and puts ``--`` before it).
"""

from __future__ import annotations

import re
from typing import Any

from .mistakes import ModuleMistake
from .params import Param

#: Letters, digits, spaces and ``_ . , : = + @ % / -``; written so that a browser's form understands it too.
SAFE_PATTERN = r"[A-Za-z0-9_.,:=+@%\/ \-]*"
#: The most characters of all lines together: more does not fit into one environment variable.
_MOST = 30_000
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Text(Param):
    """One line that matches *pattern* as a whole and has at most *max_length* characters.

    Control characters are refused whatever the pattern says. *dash*: the value may begin with "-".
    """

    kind = "text"

    def __init__(
        self,
        default: Any = None,
        *,
        pattern: str = SAFE_PATTERN,
        max_length: int = 255,
        dash: bool = False,
        **labels: str,
    ) -> None:
        super().__init__(default=default, **labels)
        self.pattern, self.max_length, self.dash = pattern, max_length, dash

    def parse(self, raw: Any) -> Any:
        return self.line(raw)

    def line(self, raw: object) -> str:
        """Check one line."""
        if not isinstance(raw, str):
            raise self.refuse("must be text", raw)
        if len(raw) > self.max_length:
            raise self.refuse(f"must have at most {self.max_length} characters")
        if _CONTROL.search(raw) or not _is_unicode(raw):
            raise self.refuse("must be one line of text without control characters", raw)
        if raw.startswith("-") and not self.dash:
            raise self.refuse('must not begin with "-"', raw)
        if not re.fullmatch(self.pattern, raw):
            raise self.refuse(f"must match the pattern {self.pattern}", raw)
        return raw

    def check(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ModuleMistake(self.name, f"its pattern is no regular expression: {error}") from error
        if not 1 <= self.max_length <= 4096:
            raise ModuleMistake(self.name, "max_length must be from 1 to 4096")
        super().check()

    def probe(self) -> None:
        """Match the pattern against long texts: one that takes for ever does so here, in a child."""
        for char in sorted({"a", "0", " ", *re.sub(r"\W", "", self.pattern)}):
            re.fullmatch(self.pattern, char * (self.max_length - 1) + "\x00")

    def limits(self) -> dict[str, Any]:
        return {"pattern": self.pattern, "max_length": self.max_length, "dash": self.dash}


class Lines(Text):
    """Several lines, each like `Text`, at most *max_lines*: a list, or text. Empty lines do not count.

    The value is a tuple; in a command each line is one word.
    """

    kind = "lines"

    def __init__(self, default: Any = None, *, max_lines: int = 100, **text: Any) -> None:
        super().__init__(default, **text)
        self.max_lines = max_lines

    def parse(self, raw: Any) -> tuple[str, ...]:
        given = raw.replace("\r\n", "\n").split("\n") if isinstance(raw, str) else raw
        if not isinstance(given, list | tuple):
            raise self.refuse("must be lines of text", raw)
        lines = tuple(self.line(line) for line in given if line != "")
        if not lines and self.required:
            raise self.refuse("is required")
        if len(lines) > self.max_lines:
            raise self.refuse(f"must have at most {self.max_lines} lines")
        if sum(map(len, lines)) > _MOST:
            raise self.refuse(f"must have at most {_MOST} characters in all")
        return lines

    def text(self, value: tuple[str, ...]) -> str:
        return "\n".join(value)

    def words(self, value: tuple[str, ...]) -> tuple[str, ...]:
        return value

    def to_wire(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def limits(self) -> dict[str, Any]:
        return {**super().limits(), "max_lines": self.max_lines, "multiple": True}


class Path(Param):
    """An absolute path on the host without ``..``; *under*: only below that folder."""

    kind = "path"

    def __init__(self, default: str | None = None, *, under: str = "/", **labels: str) -> None:
        super().__init__(default=default, **labels)
        self.under = under

    def parse(self, raw: Any) -> str:
        if not isinstance(raw, str) or not raw.startswith("/"):
            raise self.refuse("must be an absolute path", raw)
        if len(raw) > 4095 or _CONTROL.search(raw) or not _is_unicode(raw):
            raise self.refuse("must be a path of one line, of at most 4095 characters", raw)
        if ".." in raw.split("/"):
            raise self.refuse("must not contain ..", raw)
        if not raw.startswith(self.under.rstrip("/") + "/"):
            raise self.refuse(f"must be below {self.under}", raw)
        return raw

    def check(self) -> None:
        if not self.under.startswith("/"):
            raise ModuleMistake(self.name, "under must be an absolute path")
        super().check()

    def limits(self) -> dict[str, Any]:
        return {"under": self.under, "max_length": 4095}


def _is_unicode(text: str) -> bool:
    """Whether *text* can be sent: JSON may hold halves of a character that no encoding can write."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
