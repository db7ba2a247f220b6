"""Runs work on the master's own machine, as the user that the worker runs as."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .base import Reachability, Target
from .hostprocess import ProcessBackend
from .onhost import COMMAND


class LocalBackend(ProcessBackend):
    """Every host of this connection is this machine. Nothing to set."""

    kind = "local"

    def probe(self) -> Reachability:
        """Up wherever there is a shell."""
        if os.access(COMMAND[0], os.X_OK):
            return Reachability(True)
        return Reachability(False, f"This machine has no {COMMAND[0]}.")

    def _enter(self, host: Target) -> Sequence[str]:
        return ()
