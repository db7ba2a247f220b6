"""Facts that calls could be bound to: this minion tells none."""

from __future__ import annotations

from ..module import FuncModule


class Fact(FuncModule):
    """See the top of the file."""

    version = "0.0.1"
    api_version = "0.0.1"
    description = "Tells no facts."

    def list_fact_methods(self) -> list[str]:
        """None."""
        return []

    def list_fact_modules(self) -> list[str]:
        """None."""
        return []
