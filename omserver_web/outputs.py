"""What hosts printed: a part to look at, or the whole as a file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, stream_with_context
from markupsafe import Markup

from .master import ask
from .visible import visible, whole_letters

bp = Blueprint("outputs", __name__, url_prefix="/jobs")

STREAMS = ("stdout", "stderr")
#: Bytes of one stream on a page.
PART = 128 * 1024
#: Bytes fetched at a time for a download.
CHUNK = 256 * 1024


@dataclass(frozen=True)
class Output:
    """A part of what one host printed.

    ``total`` and ``cut`` are in bytes: what is kept, and what the host printed beyond that and nobody kept.
    ``next`` is where the next part begins, or None.
    """

    stream: str
    text: Markup
    total: int
    cut: int
    next: int | None


def read_part(job: int, host: int, stream: str, offset: int = 0) -> tuple[bytes, dict[str, Any]]:
    """Some bytes of a stream from *offset*, and what the master says about the stream."""
    answer = ask("job.output", job=job, host_id=host, stream=stream, offset=offset, limit=PART)
    return base64.b64decode(answer["text"]), answer


def read_both(job: int, row: dict[str, Any], *, offset: int = 0, only: str | None = None) -> list[Output]:
    """What the host of *row* printed, for each stream on which it printed something."""
    streams = [name for name in STREAMS if row.get(f"{name}_bytes") and only in (None, "", name)]
    return [_output(job, row["host_id"], name, offset) for name in streams]


def _output(job: int, host: int, stream: str, offset: int) -> Output:
    content, answer = read_part(job, host, stream, offset)
    following = answer["next"]
    if following is not None and len(shown := whole_letters(content)) < len(content):
        following -= len(content) - len(shown)
        content = shown
    return Output(stream, visible(content), answer["bytes_total"], answer["cut_bytes"], following)


@bp.get("/<int:job>/hosts/<int:host>/<stream>.txt")
def raw(job: int, host: int, stream: str):
    """The bytes as the host sent them, as a file that no browser opens by itself.

    :raise 404: there is no such stream, job or host.
    """
    if stream not in STREAMS:
        abort(404)
    first = _chunk(job, host, stream, 0)
    response = Response(
        stream_with_context(_chunks(job, host, stream, first)), mimetype="application/octet-stream"
    )
    response.headers["Content-Disposition"] = f'attachment; filename="job-{job}-host-{host}-{stream}.txt"'
    return response


def _chunk(job: int, host: int, stream: str, offset: int) -> dict[str, Any]:
    return ask("job.output", job=job, host_id=host, stream=stream, offset=offset, limit=CHUNK)


def _chunks(job: int, host: int, stream: str, answer: dict[str, Any]) -> Iterator[bytes]:
    yield base64.b64decode(answer["text"])
    while answer["next"] is not None:
        answer = _chunk(job, host, stream, answer["next"])
        yield base64.b64decode(answer["text"])
