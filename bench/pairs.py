"""Times two ways of doing the same in turn, so that a machine which slows down slows down both.

    compared = compare("one ping", ours=("OMServer", run_job), theirs=("salt CLI", run_cli), target=0.25)
    compared.ratio.median, compared.met

A figure is the median over pairs of ours / theirs; within each pair the order changes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

#: Does the work once, and answers what it took: seconds, or whatever the comparison's unit is.
Work = Callable[[], float]


@dataclass(frozen=True)
class Spread:
    """The middle of some numbers, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        return cls(median(numbers), min(numbers), max(numbers))


@dataclass(frozen=True)
class Compared:
    """Ours against theirs. ``more``: a higher ratio is better; ``target`` None: nothing was asked.

    ``load`` is the machine's when it was done: above the number of cores, others waited for processors too.
    """

    work: str
    ours: str
    theirs: str
    unit: str
    our: Spread
    their: Spread
    ratio: Spread
    pairs: int
    target: float | None = None
    more: bool = False
    load: float = 0.0

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.ratio.median >= self.target if self.more else self.ratio.median <= self.target

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return asdict(self) | {"met": self.met}


def compare(
    work: str,
    ours: tuple[str, Work],
    theirs: tuple[str, Work],
    *,
    pairs: int,
    unit: str = "s",
    target: float | None = None,
    more: bool = False,
    warm: int = 1,
) -> Compared:
    """Do *pairs* interleaved pairs, after *warm* that do not count."""
    sides = (ours[1], theirs[1])
    for _ in range(warm):
        for side in sides:
            side()
    taken: list[tuple[float, float]] = []
    for number in range(pairs):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        pair = [0.0, 0.0]
        for which in order:
            pair[which] = sides[which]()
        taken.append((pair[0], pair[1]))
    our, their = zip(*taken, strict=True)
    compared = gathered(work, ours[0], theirs[0], our, their, unit=unit, target=target, more=more)
    print(f"  {line(compared)}", file=sys.stderr, flush=True)
    return compared


def gathered(
    work: str,
    ours: str,
    theirs: str,
    our: Sequence[float],
    their: Sequence[float],
    *,
    unit: str,
    target: float | None = None,
    more: bool = False,
) -> Compared:
    """What numbers say that were taken in pairs: the first of ours beside the first of theirs, and so on."""
    ratios = [mine / other for mine, other in zip(our, their, strict=True)]
    spreads = (Spread.of(our), Spread.of(their), Spread.of(ratios))
    load = os.getloadavg()[0]
    return Compared(work, ours, theirs, unit, *spreads, len(ratios), target=target, more=more, load=load)


def timed(work: Callable[[], object]) -> Work:
    """*work* with a clock around it: answers seconds."""

    def run() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


def line(compared: Compared) -> str:
    """One comparison in one line for people."""
    ratio = compared.ratio
    text = (
        f"{compared.work}: {compared.ours} {number(compared.our.median, compared.unit)}, "
        f"{compared.theirs} {number(compared.their.median, compared.unit)}, "
        f"ratio {ratio.median:.2f} ({ratio.least:.2f} to {ratio.most:.2f})"
    )
    return f"{text}{_wanted(compared)}"


def number(value: float, unit: str) -> str:
    """A figure with its unit, short."""
    if unit == "s":
        return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.{0 if value >= 0.02 else 2}f} ms"
    return f"{value:.0f} {unit}" if value >= 20 else f"{value:.2f} {unit}"


def _wanted(compared: Compared) -> str:
    if compared.target is None:
        return ""
    sign = ">=" if compared.more else "<="
    return f"; wanted {sign} {compared.target:g}: {'met' if compared.met else 'missed'}"
