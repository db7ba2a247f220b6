"""A module as the registry knows it; nothing here runs its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omserver_client.errors import BrokenModule, InvalidParam

from ..contract.attributes import return_codes
from ..contract.forms import Raw, param_from_wire, read_form, write_form
from ..contract.module import Module
from ..contract.params import Param

#: The description of a file that could not be described.
DEFAULTS: Mapping[str, Any] = {
    "title": "",
    "title_zh": "",
    "caption": "",
    "caption_zh": "",
    "doc": "",
    "repeat": Module.repeat,
    "risk": Module.risk,
    "timeout": Module.timeout,
    "ok": return_codes(Module.ok),
    "output": Module.output,
    "most_hosts": None,
    "engines": [],
    "rollout": {},
    "locks": [],
    "params": [],
    "direct": False,
    "driven": False,
    "check": False,
}


@dataclass(frozen=True)
class Broken:
    """Why a file is no module; *line* is None where no line is to blame."""

    line: int | None
    reason: str


@dataclass(frozen=True)
class ModuleInfo:
    """A module as its file describes it. A broken one has defaults everywhere, and `broken` is set."""

    id: str
    sha256: str
    path: Path
    source: bytes
    broken: Broken | None
    description: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The first line of the docstring; ``Mid_<id>`` where there is none."""
        return str(self.description["title"]) or f"Mid_{self.id}"

    @property
    def title_zh(self) -> str:
        """The title in Chinese; the title where there is none."""
        return str(self.description["title_zh"]) or self.title

    @property
    def caption(self) -> str:
        """The rest of the docstring."""
        return str(self.description["caption"])

    @property
    def caption_zh(self) -> str:
        """The caption in Chinese; the caption where there is none."""
        return str(self.description["caption_zh"]) or self.caption

    @property
    def repeat(self) -> str:
        """ "read_only", "idempotent" or "once"."""
        return str(self.description["repeat"])

    @property
    def risk(self) -> str:
        """ "low", "medium" or "high"."""
        return str(self.description["risk"])

    @property
    def timeout(self) -> float:
        """Seconds that one host may take for all steps together."""
        return float(self.description["timeout"])

    @property
    def output(self) -> int:
        """Bytes of each stream that are kept."""
        return int(self.description["output"])

    @property
    def ok(self) -> tuple[int, ...]:
        """Return codes that are good."""
        return tuple(self.description["ok"])

    @property
    def most_hosts(self) -> int | None:
        """More hosts than that need a confirmation; None: the site decides."""
        most: int | None = self.description["most_hosts"]
        return most

    @property
    def engines(self) -> tuple[str, ...]:
        """The kinds of connection it works with; empty: all."""
        return tuple(self.description["engines"])

    @property
    def rollout(self) -> Mapping[str, Any]:
        """How its jobs go over their hosts, unless they say otherwise; empty: over all at once."""
        options: Mapping[str, Any] = self.description["rollout"]
        return options

    @property
    def locks(self) -> tuple[str, ...]:
        """The locks that its jobs want."""
        return tuple(self.description["locks"])

    @property
    def direct(self) -> bool:
        """It does everything itself in ``run()``: no steps, no engine, parameters by position."""
        return bool(self.description["direct"])

    @property
    def driven(self) -> bool:
        """It is direct, and reaches hosts through stand-ins: with the job's engine, limits and cancel."""
        return bool(self.description["driven"])

    @property
    def can_dry_run(self) -> bool:
        """It can be run dry: change nothing, and say what it would change."""
        return bool(self.description["check"])

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """The declared parameters, rebuilt from their description."""
        return tuple(map(param_from_wire, self.description["params"]))

    def check(self) -> None:
        """Make sure that it can run.

        Raises:
            BrokenModule: the file is broken.
        """
        if self.broken:
            where = f", line {self.broken.line}" if self.broken.line else ""
            details = {"module": self.id, "line": self.broken.line, "reason": self.broken.reason}
            raise BrokenModule(f"Mid_{self.id}.py{where}: {self.broken.reason}", **details)

    def read_params(self, raw: Raw) -> dict[str, str | list[str] | bool] | list[str]:
        """What the user gave, checked, as JSON for a "start" order: by name, or a list for a direct module.

        Raises:
            InvalidParam: a value is not acceptable, a required one is missing, or there is one too many.
        """
        if self.direct and not self.params:
            return _texts(raw)
        return write_form(self.params, read_form(self.params, raw))

    def show_params(self, raw: Raw) -> dict[str, str]:
        """The checked parameters as the text that will be sent, by name.

        Raises:
            InvalidParam: as `read_params`.
        """
        if self.direct and not self.params:
            return {f"sys_param_{number}": text for number, text in enumerate(_texts(raw), start=1)}
        values = read_form(self.params, raw)
        return {param.name: param.text(values[param.name]) for param in self.params}

    def to_wire(self) -> dict[str, Any]:
        """One entry of ``modules.list``, without ``runnable``, which depends on who asks."""
        names = (
            "repeat",
            "risk",
            "timeout",
            "most_hosts",
            "engines",
            "locks",
            "rollout",
            "params",
            "direct",
            "driven",
            "check",
            "doc",
        )
        return {
            "id": self.id,
            "title": self.title,
            "title_zh": self.title_zh,
            "caption": self.caption,
            "caption_zh": self.caption_zh,
            "source_sha256": self.sha256,
            **{name: self.description[name] for name in names},
            "broken": {"line": self.broken.line, "reason": self.broken.reason} if self.broken else None,
        }


def _texts(raw: Raw) -> list[str]:
    """The parameters of a module that declares none: any number of texts, in order."""
    values = list(raw.values() if isinstance(raw, Mapping) else raw)
    for position, value in enumerate(values, start=1):
        if not isinstance(value, str) or "\0" in value or len(value) > 4096:
            reason = "must be text of at most 4096 characters without NUL"
            raise InvalidParam(f"Parameter {position} {reason}.", param=str(position), reason=reason)
    return values
