"""``omserver web``: serve the console."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping

import click

from ..settings import PREFIX, Settings, load_settings

#: Where the console says how it is served, and what is served.
ARGUMENTS = ("-m", "gunicorn", "-c", "python:omserver_web.gunicorn_conf", "omserver_web.wsgi:app")


@click.command("web")
def command() -> None:
    """Serve the console with gunicorn, on OMSERVER_WEB_HOST and OMSERVER_WEB_PORT."""
    if importlib.util.find_spec("gunicorn") is None or importlib.util.find_spec("omserver_web") is None:
        raise click.ClickException("the console is not installed here. Run: pip install 'omserver[web]'")
    environment = {**os.environ, **console_environment(load_settings())}
    os.execve(sys.executable, [sys.executable, *ARGUMENTS], environment)  # noqa: S606 -- our own interpreter


def console_environment(settings: Settings) -> Mapping[str, str]:
    """What the console needs to know; it reads the environment only, never config.py."""
    told = {
        "HOME": settings.home,
        "RPYC_HOST": settings.rpyc_host,
        "RPYC_PORT": settings.rpyc_port,
        "WEB_HOST": settings.web_host,
        "WEB_PORT": settings.web_port,
        "KEY_FILE": settings.key_for("web"),
    }
    return {PREFIX + name: str(value) for name, value in told.items()}
