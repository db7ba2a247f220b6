"""``python -m omserver_web``: see to it that the console can start, then let gunicorn serve it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from . import NotBuilt, check_built
from .settings import BadSetting, from_environment, read_secret

GUNICORN = ["-m", "gunicorn", "-c", "python:omserver_web.gunicorn_conf", "omserver_web.wsgi:app"]


def check(environment: Mapping[str, str]) -> None:
    """Look at all that the console needs before it can serve.

    Raises:
        NotBuilt: what browsers load is not there.
        BadSetting: a setting cannot be used.
        OSError: the data folder cannot be used.
    """
    check_built()
    read_secret(Path(str(from_environment(environment)["HOME"])))


def main() -> None:
    """Become gunicorn; or say in one line why not, with exit code 1."""
    try:
        check(os.environ)
    except (NotBuilt, BadSetting, OSError) as error:
        sys.exit(f"Error: {error}")
    os.execv(sys.executable, [sys.executable, *GUNICORN])  # noqa: S606 -- the same Python, our own words


if __name__ == "__main__":
    main()
