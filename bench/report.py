"""Figures as a table for people, as JSON for programs, and as a block of docs/performance.md."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from .pairs import Compared, number

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

_HEAD = (
    "| work | ours | theirs | ratio (least to most) | wanted | pairs, load |",
    "| --- | --- | --- | --- | --- | --- |",
)


def table(compared: Sequence[Compared]) -> str:
    """A table in Markdown, one line per comparison."""
    return "\n".join([*_HEAD, *map(_row, compared)])


def as_json(row: str, compared: Sequence[Compared], machine: dict[str, str]) -> str:
    """All of it."""
    return json.dumps(
        {"row": row, "machine": machine, "figures": [one.to_json() for one in compared]}, indent=1
    )


def write(row: str, compared: Sequence[Compared], machine: dict[str, str], page: Path = PAGE) -> None:
    """Put the figures of *row* between its marks in *page*; those of other comparisons of the row stay.

    Raises:
        ValueError: there are no such marks.
    """
    begin, end = f"<!-- {row}: written by python -m bench {row} --write -->", f"<!-- end of {row} -->"
    text = page.read_text(encoding="utf-8")
    found = re.search(f"{re.escape(begin)}(.*?){re.escape(end)}", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{page} has no place for {row}: it needs the line {begin}")
    lines = {
        _name(line): line for line in found[1].splitlines() if line.startswith("| ") and line not in _HEAD
    }
    lines |= {_name(line): line for line in map(_row, compared)}
    block = "\n".join([begin, "", *_HEAD, *lines.values(), "", _machine_line(machine), "", end])
    page.write_text(text[: found.start()] + block + text[found.end() :], encoding="utf-8")


def _name(line: str) -> tuple[str, str]:
    """What a line of the table compares: the work, and the other side."""
    cells = line.split(" | ")
    return cells[0], cells[2].partition(":")[0]


def _row(one: Compared) -> str:
    ours, theirs = (number(side.median, one.unit) for side in (one.our, one.their))
    spread = f"**{one.ratio.median:.2f}** ({one.ratio.least:.2f} to {one.ratio.most:.2f})"
    busy = f"{one.pairs}, {one.load:.0f}"
    return (
        f"| {one.work} | {one.ours}: {ours} | {one.theirs}: {theirs} | {spread} | {_verdict(one)} | {busy} |"
    )


def _verdict(one: Compared) -> str:
    if one.target is None:
        return ""
    sign = "≥" if one.more else "≤"
    return f"{sign} {one.target:g}: {'met' if one.met else 'missed'}"


def _machine_line(machine: dict[str, str]) -> str:
    return (
        f"{machine['when']}: {machine['cpu']}, {machine['cores']} cores, {machine['memory']}, "
        f"Linux {machine['kernel']}, Python {machine['python']}, {machine['libraries']}."
    )
