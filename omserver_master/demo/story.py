"""What the demo tells while it works: one line for each step, with the time it took."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from omserver_client.errors import OMServerError


class DemoFailed(OMServerError):
    """The demo could not be started."""


def say(text: str = "") -> None:
    """Print one line at once."""
    click.echo(text)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done, and after it how long it took."""
    started = time.monotonic()
    click.echo(f"  {text} ... ", nl=False)
    try:
        yield
    except BaseException:
        say()
        raise
    say(f"{time.monotonic() - started:.1f} s")


@contextmanager
def refusing_interrupts() -> Iterator[None]:
    """Let nothing interrupt the block: it is bounded, and must come to its end."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
