"""``omserver web``: serve the console."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping

import click

from ..settings import PREFIX, Settings, load_settings


@click.command("web")
def command() -> None:
    """Serve the console with gunicorn, on OMSERVER_WEB_HOST and OMSERVER_WEB_PORT."""
    if any(importlib.util.find_spec(name) is None for name in ("gunicorn", "omserver_web")):
        raise click.ClickException("the console is not installed here. Run in the checkout: make install")
    argv = [sys.executable, "-m", "omserver_web"]
    os.execve(sys.executable, argv, {**os.environ, **console_environment(load_settings())})  # noqa: S606


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
