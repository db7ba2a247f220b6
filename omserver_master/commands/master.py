"""``omserver master``: serve callers and run their jobs."""

from __future__ import annotations

import logging
import signal
import threading

import click

from omserver_client.errors import OMServerError

from ..settings import load_settings

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@click.command(name="master")
def command() -> None:
    """Run the master: the RPyC service and its workers, until SIGTERM or Ctrl-C."""
    from ..service import Master  # loaded when it is needed: `omserver --help` stays fast

    logging.basicConfig(level=logging.INFO, format=LINE)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        settings = load_settings()
        with Master(settings) as running:
            click.echo(f"omserver_master listens at {settings.rpyc_host}:{running.server.port}", err=True)
            stopped.wait()
            click.echo("omserver_master is stopping", err=True)
    except OMServerError as error:
        raise click.ClickException(str(error)) from error
