"""What hosts printed, fetched from the master piece by piece."""

from __future__ import annotations

import base64
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from ..client import Client
from ..errors import NotFound
from .show import console, state_text
from .visible import visible_bytes, visible_line


def all_results(client: Client, job: int, state: str | None = None) -> list[dict[str, Any]]:
    """Every host result of *job*, or every one in *state*, page after page."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = client.results(job, after=after, state=state)
        found += page["results"]
        if not page["more"] or not page["results"]:
            return found
        after = page["results"][-1]["host_id"]


def print_outputs(client: Client, job: int, results: list[dict[str, Any]], *, raw: bool) -> None:
    """Print what each host wrote, under its name; as it came only when *raw*."""
    out = console()
    for result in results:
        out.print(Text.assemble("== ", visible_line(result["host"]), "  ", state_text(result["state"])))
        for stream in ("stdout", "stderr"):
            if result[f"{stream}_bytes"]:
                try:
                    text, cut = read_output(client, job, result["host_id"], stream)
                except NotFound as gone:
                    out.print(f"-- {stream}: {visible_line(str(gone))}")
                else:
                    _print_stream(out, stream, text, cut, raw=raw)


def _print_stream(out: Console, stream: str, text: bytes, cut: int, *, raw: bool) -> None:
    if stream == "stderr":
        out.print("-- standard error:")
    if raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    else:
        out.print(visible_bytes(text).removesuffix("\n"))
    if cut:
        out.print(f"-- {cut} more bytes were cut off")


def read_output(client: Client, job: int, host_id: int, stream: str) -> tuple[bytes, int]:
    """All that the master kept of one host's *stream*, and the number of bytes that were cut off.

    Raises:
        NotFound: it was removed since; the error says when.
    """
    whole, offset = b"", 0
    while True:
        part = client.output(job, host_id, stream, offset)
        whole += base64.b64decode(part["text"])
        if part["next"] is None:
            return whole, part["cut_bytes"]
        offset = part["next"]


def outputs_as_json(client: Client, job: int, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The *results* with their outputs as text, bytes that are not UTF-8 written out as ``\\xff``.

    ``stdout_cut`` and ``stderr_cut`` say how many bytes were cut off. An output that was removed since is
    null, and ``removed`` says when.
    """
    full = []
    for result in results:
        texts: dict[str, str | int | None] = {}
        for stream in ("stdout", "stderr"):
            try:
                there = result[f"{stream}_bytes"]
                text, cut = read_output(client, job, result["host_id"], stream) if there else (b"", 0)
                texts |= {stream: text.decode("utf-8", errors="backslashreplace"), f"{stream}_cut": cut}
            except NotFound as gone:
                texts |= {stream: None, "removed": str(gone)}
        full.append({**result, **texts})
    return full
