"""omctl: OMServer from a terminal. ``omctl --help`` lists the commands; docs/omctl.md explains them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

_NEEDS = "omctl needs two more packages. Run in a checkout of OMServer: pip install '.[cli]'"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run omctl with *arguments* (the process's own by default) and exit with its code."""
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print(_NEEDS, file=sys.stderr)
        sys.exit(2)
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))
