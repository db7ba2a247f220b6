"""Work that one engine alone understands: a Salt state, an Ansible playbook.

Their answers have the form of all others: the return code is 0 where the engine was content and 2 where it
was not; standard output tells, a line a state or task, what was changed or would be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .workparts import assign, refuse_nul

#: How many bytes of the telling are kept.
_OUTPUT = 512 * 1024
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, init=False)
class State:
    """Apply Salt states: the names *sls* as of ``state.apply``, with *pillar* on top of the minion's own.

    With *test* nothing is changed, and the answer tells what would be.

    Raises:
        ValueError: there is no name, or *pillar* cannot be written as JSON.
    """

    sls: tuple[str, ...]
    pillar: Mapping[str, Any] = field(hash=False)
    test: bool
    saltenv: str
    timeout: float | None
    output: int

    def __init__(
        self,
        sls: str | Sequence[str],
        pillar: Mapping[str, Any] | None = None,
        *,
        test: bool = False,
        saltenv: str = "base",
        timeout: float | None = None,
        output: int = _OUTPUT,
    ) -> None:
        names = (sls,) if isinstance(sls, str) else tuple(sls)
        if not names or not all(_NAME.fullmatch(name) for name in names):
            raise ValueError(f"A state is named like nginx or web.nginx, not {sls!r}.")
        assign(
            self, sls=names, pillar=_json(pillar), test=test, saltenv=saltenv, timeout=timeout, output=output
        )

    def to_wire(self) -> dict[str, Any]:
        """This work as JSON values."""
        return {"kind": "state", **vars(self), "sls": list(self.sls)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> State:
        """Read what `to_wire` wrote."""
        return cls(**{name: value for name, value in wire.items() if name != "kind"})


@dataclass(frozen=True, init=False)
class Playbook:
    """Play the Ansible playbook *text*, which lies in *folder* (its roles and files do, too).

    The hosts of the plays are limited to those of the dispatch. With *check* nothing is changed, and the
    answer tells what would be, with the differences if *diff* is set.

    Raises:
        ValueError: there is no text, or *extra_vars* cannot be written as JSON.
    """

    text: str
    folder: str
    extra_vars: Mapping[str, Any] = field(hash=False)
    tags: tuple[str, ...]
    skip_tags: tuple[str, ...]
    check: bool
    diff: bool
    timeout: float | None
    output: int

    def __init__(
        self,
        text: str,
        folder: str = "",
        extra_vars: Mapping[str, Any] | None = None,
        *,
        tags: Sequence[str] = (),
        skip_tags: Sequence[str] = (),
        check: bool = False,
        diff: bool = False,
        timeout: float | None = None,
        output: int = _OUTPUT,
    ) -> None:
        if not text.strip():
            raise ValueError("A playbook that is empty plays nothing.")
        refuse_nul(text, folder)
        assign(self, text=text, folder=folder, extra_vars=_json(extra_vars), tags=tuple(tags))
        assign(self, skip_tags=tuple(skip_tags), check=check, diff=diff, timeout=timeout, output=output)

    def to_wire(self) -> dict[str, Any]:
        """This work as JSON values."""
        return {"kind": "playbook", **vars(self), "tags": list(self.tags), "skip_tags": list(self.skip_tags)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Playbook:
        """Read what `to_wire` wrote."""
        return cls(**{name: value for name, value in wire.items() if name != "kind"})


def _json(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of *values* that is JSON and nothing else."""
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(values or {})))
    except TypeError as error:
        raise ValueError(f"These values cannot be sent to an engine: {error}.") from error
    return copy
