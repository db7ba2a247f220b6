"""The rows of ``bench/``: each can be measured from end to end. How quick anything is, is no matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import report
from bench.pairs import Compared, Spread, compare, gathered

ROOT = Path(__file__).resolve().parents[2]
#: Of the rows with slow comparisons, only those whose names have this in them; of the others little.
ROWS = {
    "P1": (),
    "P2": ("--only", "LocalClient"),
    "P3": ("--only", "1 host"),
    "P4": (),
    "P5": ("--seconds", "1"),
    "P6": ("--seconds", "1", "--size", "100"),
    "P7": ("--size", "100"),
    "P8": ("--size", "2500"),
    "P9": ("--seconds", "3", "--size", "50"),
}


@pytest.mark.timeout(170)
@pytest.mark.parametrize("row", ROWS)
def test_a_row_prints_its_ratios(row: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", row, "--pairs", "1", *ROWS[row]]
    figures = tmp_path / "figures.json"
    ended = subprocess.run(
        [*command, "--json", str(figures)], cwd=ROOT, capture_output=True, text=True, timeout=160
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| ratio (least to most) |" in ended.stdout
    found = json.loads(figures.read_text())
    assert found["row"] == row
    assert found["machine"]["cores"]
    assert found["figures"]
    assert all(figure["ratio"]["median"] >= 0 for figure in found["figures"])


def test_pairs_are_taken_in_turn_and_in_both_orders() -> None:
    taken: list[str] = []

    def side(name: str, seconds: float) -> float:
        taken.append(name)
        return seconds

    compared = compare(
        "work", ("ours", lambda: side("a", 1.0)), ("theirs", lambda: side("b", 4.0)), pairs=3, target=0.25
    )
    assert "".join(taken) == "ab" + "abbaab"
    assert (compared.ratio, compared.met) == (Spread(0.25, 0.25, 0.25), True)


def test_a_ratio_is_the_median_of_the_pairs_ratios_not_the_ratio_of_medians() -> None:
    compared = gathered("work", "ours", "theirs", [1, 2, 30], [10, 2, 10], unit="s", target=1.0, more=True)
    assert compared.ratio == Spread(1.0, 0.1, 3.0)
    assert compared.met


def test_figures_are_written_between_their_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{marks('P1')}\nbetween\n{marks('P2')}\nafter\n")
    report.write("P2", [figure()], machine(), page)
    written = page.read_text()
    assert written.startswith(f"before\n{marks('P1')}\nbetween\n")
    assert (
        "| work | ours: 10.00 ms | theirs: 40 ms | **0.25** (0.20 to 0.30) | ≤ 0.2: missed | 10, 3 |"
        in written
    )
    report.write("P2", [replace(figure(), work="other")], machine(), page)
    report.write("P2", [replace(figure(), ours="we")], machine(), page)
    assert page.read_text().count("| work | we: 10.00 ms |") == page.read_text().count("| other |") == 1
    assert "| work | ours:" not in page.read_text()
    with pytest.raises(ValueError, match="P3"):
        report.write("P3", [figure()], machine(), page)


def test_the_page_has_a_place_for_every_row() -> None:
    page = report.PAGE.read_text()
    assert all(f"<!-- {row}: written by" in page and f"<!-- end of {row} -->" in page for row in ROWS)


def marks(row: str) -> str:
    return f"<!-- {row}: written by python -m bench {row} --write -->\n<!-- end of {row} -->"


def figure() -> Compared:
    spreads = (Spread(0.01, 0.01, 0.02), Spread(0.04, 0.03, 0.05), Spread(0.25, 0.2, 0.3))
    return Compared("work", "ours", "theirs", "s", *spreads, pairs=10, target=0.2, load=3)


def machine() -> dict[str, str]:
    names = ("when", "cpu", "cores", "memory", "kernel", "python", "libraries", "load")
    return {name: name for name in names}
