"""``python -m omserver_web``: see to it that the console can start, then let gunicorn serve it."""

from __future__ import annotations

import os
import socket
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
        BadSetting: a setting cannot be used, or the port is taken.
        OSError: the data folder cannot be used.
    """
    check_built()
    settings = from_environment(environment)
    read_secret(Path(str(settings["HOME"])))
    host, port = str(settings["WEB_HOST"]), int(str(settings["WEB_PORT"]))
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError as error:
        hint = "Is another copy running? OMSERVER_WEB_PORT chooses another port."
        raise BadSetting(f"The console cannot listen at {host}:{port}: {error.strerror}. {hint}") from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def main() -> None:
    """Become gunicorn; or say in one line why not, with exit code 1."""
    try:
        check(os.environ)
    except (NotBuilt, BadSetting, OSError) as error:
        sys.exit(f"Error: {error}")
    os.execv(sys.executable, [sys.executable, *GUNICORN])  # noqa: S606 -- the same Python, our own words


if __name__ == "__main__":
    main()
