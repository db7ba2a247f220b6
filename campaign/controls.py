"""Negative controls: OMServer broken on purpose, one defect at a time; the campaign has to notice each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import sweep
from .defects import DEFECTS, Defect
from .place import Place


@dataclass(frozen=True)
class Control:
    """Whether a defect was noticed for what it is, and all the kinds of violation that were seen."""

    name: str
    says: str
    kinds: frozenset[str]
    noticed: bool


def run(names: list[str] | None = None, *, pace: float = 0.2, database: str = "sqlite") -> Iterator[Control]:
    """Break OMServer in each way, play the cells that must notice it, and say whether they did."""
    for name in list(DEFECTS) if names is None else names:
        yield _try(name, DEFECTS[name], pace, database)


def _try(name: str, defect: Defect, pace: float, database: str) -> Control:
    by_name = {cell.name: cell for cell in sweep.cells()}
    kinds: frozenset[str] = frozenset()
    with Place(database, pace=pace, defect=name) as place:
        for cell in defect.cells:
            kinds |= sweep.play(place, by_name[cell], end_limit=CONTROL_LIMIT).verdict.kinds
    return Control(name, defect.says, kinds, bool(kinds & set(defect.kinds)))


#: Seconds until a job under a defect is called stuck: longer than any takeover at this pace.
CONTROL_LIMIT = 20.0
