"""Values of each type, given back."""

from __future__ import annotations

from typing import Any

from ..module import FuncModule


class Echo(FuncModule):
    """See the top of the file."""

    version = "0.0.1"
    api_version = "0.0.1"
    description = "Just a very simple example module"

    def run_string(self, value: Any) -> Any:
        """The same value."""
        return value

    run_int = run_float = run_options = run_list = run_hash = run_boolean = run_string

    def run_list_star(self, *values: Any) -> list[Any]:
        """The same values."""
        return list(values)
