"""Whether a minion is there, and whether values travel well."""

from __future__ import annotations

import time
from typing import Any

from ..module import FuncModule


class Test(FuncModule):
    """See the top of the file."""

    version = "0.0.1"
    api_version = "0.0.1"
    description = "Just a very simple example module"

    def ping(self) -> int:
        """1."""
        return 1

    def add(self, first: Any, second: Any) -> Any:
        """The sum of two numbers or texts."""
        return first + second

    def echo(self, value: Any) -> Any:
        """The same value."""
        return value

    def sleep(self, seconds: float) -> float:
        """Wait (an hour at most), then tell the time."""
        time.sleep(min(float(seconds), 3600.0))
        return time.time()

    def explode(self) -> None:
        """Fail with a text."""
        raise RuntimeError("khhhhhhaaaaaan!!!!!!")

    def explode_no_string(self) -> None:
        """Fail without a text."""
        raise RuntimeError

    def bigint(self) -> int:
        """A number that XML-RPC has no form for."""
        return 2**32
