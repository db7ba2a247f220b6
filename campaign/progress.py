"""What a campaign has done so far: kept in a file after each piece, so that it goes on where it stopped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .oracle import Verdict


class Progress:
    """Finished pieces by name. A piece that went wrong is done again the next time.

    Args:
        file: where it is kept; None: nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        kept = file.read_text(encoding="utf-8") if file is not None and file.exists() else "{}"
        self.pieces: dict[str, dict[str, Any]] = json.loads(kept)

    def has(self, name: str) -> bool:
        """Whether *name* is done, and was good."""
        return bool(self.pieces.get(name, {}).get("good"))

    def good(self, part: str) -> list[str]:
        """The names of good pieces with *part* in them."""
        return [name for name, piece in self.pieces.items() if part in name and piece["good"]]

    def add(self, name: str, *, good: bool, verdict: Verdict, **more: Any) -> None:
        """Keep how *name* went."""
        self.pieces[name] = {
            "good": good,
            "violations": [list(violation) for violation in verdict.violations],
            "figures": dict(verdict.figures),
            **more,
        }
        self.save()

    def note(self, name: str, piece: Mapping[str, Any]) -> None:
        """Keep something that has no verdict of the oracle."""
        self.pieces[name] = dict(piece)
        self.save()

    def save(self) -> None:
        if self._file is not None:
            part = self._file.with_name(self._file.name + ".part")
            part.write_text(json.dumps(self.pieces, indent=1), encoding="utf-8")
            part.replace(self._file)


def table(pieces: Mapping[str, Mapping[str, Any]]) -> str:
    """One line for each kind of piece (the first word of its name), in Markdown, and what went wrong."""
    lines = ["| what | pieces | good | host results | works begun | unknown | faults | slowest recovery |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind in sorted({_kind(name) for name in pieces}):
        lines.append(_line(kind, [piece for name, piece in pieces.items() if _kind(name) == kind]))
    for name, piece in pieces.items():
        lines += [f"VIOLATION {name}: {what}: {text}" for what, text in piece.get("violations", ())]
        if not piece["good"] and not piece.get("violations"):
            lines.append(f"NOT GOOD {name}: {piece.get('why', '')}")
    return "\n".join(lines)


def _kind(name: str) -> str:
    return " ".join(name.split("/")[:2])


def _line(kind: str, pieces: Sequence[Mapping[str, Any]]) -> str:
    figures: Counter[str] = Counter()
    for piece in pieces:
        figures.update(piece.get("figures", {}))
    faults = sum(sum(piece.get("faults", {}).values()) for piece in pieces)
    recovery = max((float(piece.get("recovery", 0)) for piece in pieces), default=0.0)
    good = sum(bool(piece["good"]) for piece in pieces)
    cells = [kind, len(pieces), good, figures["host results"], figures["works begun"], figures["unknown"]]
    return "| " + " | ".join(map(str, [*cells, faults, f"{recovery:.1f} s"])) + " |"
