"""``omserver master``: serve callers and run their jobs."""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Callable

import click

from omserver_client.errors import OMServerError, Unavailable

from ..settings import PROCESSES, check_on_pause, load_settings

LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@click.command(name="master")
def command() -> None:
    """Run the master: the RPyC service and its workers, until SIGTERM or Ctrl-C."""
    from ..service import Master  # loaded when it is needed: `omserver --help` stays fast
    from ..wire.server import CannotListen

    log_to_stderr()
    wait_for_signal = _listen_for(signal.SIGTERM, signal.SIGINT)
    try:
        settings = load_settings()
        if settings.executor == PROCESSES:
            check_on_pause(settings)
        with Master(settings) as running:
            click.echo(f"omserver_master listens at {settings.rpyc_host}:{running.server.port}", err=True)
            wait_for_signal()
            click.echo("omserver_master is stopping", err=True)
    except CannotListen as error:
        hint = "Is another copy running? OMSERVER_RPYC_PORT chooses another port."
        raise click.ClickException(f"{error} {hint}") from error
    except Unavailable as error:
        raise click.ClickException(f"{error} `omserver doctor` says what to do.") from error
    except OMServerError as error:
        raise click.ClickException(str(error)) from error


def log_to_stderr() -> None:
    """Log what we do as lines on standard error; of Alembic, which tells what it looked at, warnings only."""
    logging.basicConfig(level=logging.INFO, format=LINE)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _listen_for(*numbers: signal.Signals) -> Callable[[], None]:
    """From now on these signals do nothing but end the wait that is answered.

    The handler writes into a pipe: it takes no lock, so it can never meet one that is held.
    """
    heard, tell = os.pipe()
    os.set_blocking(tell, False)

    def handler(number: int, frame: object) -> None:
        try:
            os.write(tell, b"!")
        except BlockingIOError:
            return

    for number in numbers:
        signal.signal(number, handler)
    return lambda: _readable(heard)


def _readable(fd: int) -> None:
    select.select([fd], [], [])
