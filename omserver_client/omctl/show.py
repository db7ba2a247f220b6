"""How omctl prints: tables, states, times, JSON. Text of hosts passes `visible` before it gets here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from .visible import visible_line

#: Colour only repeats what the word says.
_STYLES = {
    "ok": "green", "succeeded": "green", "up": "green",
    "failed": "red", "broken": "red", "down": "red",
    "unreachable": "dark_orange", "timed_out": "yellow", "unknown": "magenta",
    "running": "blue", "queued": "blue", "pending": "blue", "dispatched": "blue", "cancelling": "blue",
    "paused": "yellow",
}  # fmt: skip

Command = Callable[..., Any]


def json_option(command: Command) -> Command:
    """Give *command* the option ``--json``, as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def console(*, stderr: bool = False) -> Console:
    """A console that never interprets what it prints, and never cuts a line."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print *document* as one JSON document; ASCII only, so no host can reach the terminal through it."""
    print(json.dumps(document, indent=2))


def print_error(text: str) -> None:
    """Say something beside the output proper."""
    print(text, file=sys.stderr, flush=True)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print *rows* in columns as wide as they need; values are made visible, states get their colour."""
    cells = [list(map(_cell, row)) for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    out = console()
    out.print(_line(headings, widths, style="bold"))
    for row in cells:
        out.print(_line(row, widths))


def _cell(value: object) -> str:
    return "" if value is None else visible_line(str(value))


def _line(cells: Sequence[str], widths: Sequence[int], style: str = "") -> Text:
    line = Text(style=style)
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        last = number == len(cells) - 1
        line.append(cell, style=_STYLES.get(cell.replace(" ", "_"), ""))
        line.append("" if last else " " * (width - cell_len(cell) + 2))
    return line


def state_word(state: str) -> str:
    """A state as people read it: ``timed out`` for ``timed_out``."""
    return state.replace("_", " ")


def state_text(state: str, width: int = 0) -> Text:
    """A state in its colour, padded to *width* columns."""
    return Text(state_word(state).ljust(width), style=_STYLES.get(state, ""))


def local_time(seconds: float | None) -> str:
    """A time from the master (unix seconds, UTC) on this machine's clock face."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counts_text(counts: Mapping[str, int]) -> str:
    """The hosts of a job by state: ``2 ok, 1 failed``."""
    return ", ".join(f"{number} {state_word(state)}" for state, number in counts.items() if number)
