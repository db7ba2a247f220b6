"""A playbook's answer per host: what its tasks did, a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...contract.enginework import Playbook
from ...contract.work import Answer
from ..base import no_output
from .reasons import unreachable


class Telling:
    """Collects what tasks did; *complete* when the playbook came to its end."""

    def __init__(self, work: Playbook) -> None:
        self.complete = False
        self._cap = work.output
        self._diff = work.diff
        self._out: dict[str, _Stream] = {}
        self._err: dict[str, _Stream] = {}
        self._unreachable: dict[str, str] = {}

    def hear(self, record: Mapping[str, Any]) -> None:
        """Note what one task did on one host."""
        host, status, text = record["host"], record["status"], record["text"]
        out = self._out.setdefault(host, _Stream(self._cap))
        out.add(f"{status:<11} {_line(record['task'])}{_short(text)}\n")
        if self._diff and record["diff"]:
            out.add("".join(f"    {line}\n" for line in record["diff"].splitlines()))
        if status in ("failed", "unreachable"):
            self._err.setdefault(host, _Stream(self._cap)).add(f"{_line(record['task'])}: {text.strip()}\n")
        if status == "unreachable":
            self._unreachable[host] = text

    def answer(self, host: str, counts: Mapping[str, int]) -> Answer:
        """How it ended for *host*, from Ansible's own counts."""
        out, err = (found.get(host, _Stream(self._cap)) for found in (self._out, self._err))
        if counts["dark"] and not counts["changed"] and not counts["failures"]:
            return no_output("unreachable", unreachable(self._unreachable.get(host, "")))
        failed = counts["failures"] or counts["dark"]
        return Answer(
            "done",
            rc=2 if failed else 0,
            stdout=out.content,
            stderr=err.content,
            stdout_cut=out.cut,
            stderr_cut=err.cut,
        )


class _Stream:
    """The first bytes of some text, and how many did not fit."""

    def __init__(self, cap: int) -> None:
        self.content = b""
        self.cut = 0
        self._cap = cap

    def add(self, text: str) -> None:
        raw = text.encode("utf-8", "replace")
        kept = raw[: self._cap - len(self.content)]
        self.content += kept
        self.cut += len(raw) - len(kept)


def _line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _short(text: str) -> str:
    first = _line(text.strip().partition("\n")[0])[:200]
    return f": {first}" if first else ""
