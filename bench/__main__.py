"""``python -m bench P1``: one row of docs/performance.md, measured on this machine."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tests.ending import end_on_sigterm

from . import report
from .machine import machine
from .simsite import DATABASES, Load

ROWS = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9")
#: Rows with invented hosts: they are told which database, how long and how many.
LOADED = frozenset({"P5", "P6", "P7", "P8", "P9"})


def main() -> int:
    """Measure the rows named; 0 when all could be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="+", choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--pairs", type=int, default=10, help="pairs per figure (10)")
    parser.add_argument("--only", default="", help="only comparisons whose name has this word")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    parser.add_argument("--database", choices=DATABASES, default="sqlite", help="P5 to P9: on which (sqlite)")
    parser.add_argument("--seconds", type=float, default=60, help="P5, P6, P9: for how long (60)")
    parser.add_argument("--size", type=int, default=0, help="P6, P7, P9: hosts of a job; P8: jobs (1000000)")
    options = parser.parse_args()
    end_on_sigterm()
    load = Load(options.database, options.seconds, options.size)
    for row in options.rows:
        measure = importlib.import_module(f".{row.lower()}", __package__).measure
        told = (load,) if row in LOADED else ()
        found = measure(options.pairs, options.only, *told)
        where = machine()
        print(f"{row}\n\n{report.table(found)}\n\n" + "\n".join(f"{k}: {v}" for k, v in where.items()))
        text = report.as_json(row, found, where)
        print(text)
        if options.json:
            options.json.write_text(text, encoding="utf-8")
        if options.write:
            report.write(row, found, where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
