"""Sleeps that a test can look for among all processes: no other run of the tests has the same."""

from __future__ import annotations

import os


def nap(number: str) -> str:
    """A command that sleeps for hours, and that only this run of the tests gives."""
    return f"sleep {number}{os.getpid()}"
