"""The same rows the other way round: hosts that printed exactly the same stand together."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, render_template
from markupsafe import Markup

from .jobs import ROWS, around
from .master import ask
from .outputs import STREAMS, read_part
from .visible import visible
from .words import HOST_STATES

bp = Blueprint("groups", __name__, url_prefix="/jobs")

#: Lines of each side that are compared; difflib gets slow beyond.
LINES = 2000
#: Bytes of a group's output on the page.
SHOWN = 16 * 1024


@dataclass
class Group:
    """Hosts whose state, return code and output are the same."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    streams: dict[str, bytes] = field(default_factory=dict)

    @property
    def first(self) -> dict[str, Any]:
        """One row, to stand for all."""
        return self.rows[0]

    def shown(self, stream: str) -> Markup:
        """The beginning of what these hosts printed."""
        return visible(self.streams[stream][:SHOWN])

    def says(self, reason: str) -> bool:
        """Whether one of the streams is *reason* and nothing else."""
        return reason.encode("utf-8", "replace") in (stream.strip() for stream in self.streams.values())

    def long(self, stream: str) -> bool:
        """Whether there is more than is shown."""
        return len(self.streams[stream]) > SHOWN or bool(self.first["cut"])


@bp.get("/<int:job>/groups")
def show(job: int):
    """The groups of a job, largest first, and how the first two differ."""
    shown = ask("job.show", job=job)["job"]
    answer = ask("job.results", job=job, limit=ROWS)
    ended = [row for row in answer["results"] if row["state"] not in ("pending", "dispatched", "running")]
    groups = grouped(job, ended)
    return render_template(
        "jobs/groups.html",
        **around(shown),
        groups=groups,
        more=answer["more"],
        waiting=len(answer["results"]) - len(ended),
        differences=differences(groups),
    )


def grouped(job: int, rows: list[dict[str, Any]]) -> list[Group]:
    """*rows* by what their hosts printed: largest group first, then by state and by host."""
    groups: dict[str, Group] = {}
    for row in rows:
        streams = {name: read_part(job, row["host_id"], name)[0] for name in STREAMS if row[f"{name}_bytes"]}
        group = groups.setdefault(_fingerprint(row, streams), Group(streams=streams))
        group.rows.append(row)
    order = list(HOST_STATES)

    def place(group: Group) -> tuple[int, int, str]:
        return -len(group.rows), order.index(group.first["state"]), group.first["host"]

    return sorted(groups.values(), key=place)


def _fingerprint(row: dict[str, Any], streams: dict[str, bytes]) -> str:
    mark = hashlib.sha256(repr((row["state"], row["rc"], row["reason"])).encode())
    for name in STREAMS:
        mark.update(f"|{name}:{row[f'{name}_bytes']}|".encode() + streams.get(name, b""))
    return mark.hexdigest()


def differences(groups: list[Group]) -> list[tuple[str, Markup]]:
    """How the outputs of the first two groups differ.

    Answers lines of (kind, text); kind is ``+``, ``-``, ``@`` or a space.
    """
    if len(groups) < 2:
        return []
    before, after = (_lines(group) for group in groups[:2])
    lines = list(difflib.unified_diff(before, after, n=2, lineterm=""))[2:]
    return [(line[:1], visible(line.encode("utf-8", "surrogateescape"))) for line in lines]


def _lines(group: Group) -> list[str]:
    text = b"".join(group.streams.get(name, b"") for name in STREAMS)
    return text.decode("utf-8", "surrogateescape").splitlines()[:LINES]
