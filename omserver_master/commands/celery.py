"""``omserver celery``: run workers on this machine that masters elsewhere ring through Celery."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from omserver_client.errors import OMServerError

from ..errors import SettingsError
from ..settings import CELERY, check_on_pause, load_settings
from .master import log_to_stderr

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

#: Seconds after which Celery is started again when the broker said something that it cannot live with.
PAUSE = 2.0
#: Seconds until Celery notices that it is to end.
AWAKE = 0.5


@click.command(name="celery")
def command() -> None:
    """Run WORKERS worker processes and a Celery worker that rings them, until SIGTERM or Ctrl-C."""
    from ..celeryapp import answer, make_app
    from ..crew import Crew
    from ..store.engine import make_engine
    from ..store.schema_version import require_current
    from ..store.sitekey import read_site_key

    log_to_stderr()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until Celery has handlers of its own
    try:
        settings = load_settings()
        if settings.executor != CELERY:
            raise SettingsError('`omserver celery` needs EXECUTOR = "celery", as the masters have it.')
        check_on_pause(settings)
        read_site_key(settings.site_key)
        engine = make_engine(settings.database_url)
        require_current(engine)
        app = make_app(settings)
        crew = Crew(settings.workers, engine, lambda jobs: None)
        answer(app, crew.ring)
        crew.start()
        try:
            _listen(app)
        finally:
            crew.stop()
    except OMServerError as error:
        raise click.ClickException(str(error)) from error


def _listen(app: Celery) -> None:
    """Hear the rings until a signal ends it. Whatever the broker does, the workers work on meanwhile."""
    from celery.signals import worker_ready
    from celery.worker import state

    # Celery looks whether it is to end when it wakes, and would sleep for ten seconds.
    worker_ready.connect(_stay_awake)
    while state.should_stop is None and state.should_terminate is None:
        worker = app.Worker(
            hostname=f"omserver-{os.getpid()}@{os.uname().nodename}",
            pool_cls="solo",
            loglevel="WARNING",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        end = time.monotonic() + PAUSE
        while state.should_stop is None and state.should_terminate is None and time.monotonic() < end:
            time.sleep(0.1)
        log.info("listening for rings again")


def _stay_awake(sender: Any, **_: object) -> None:
    sender.timer.call_repeatedly(AWAKE, int)  # lost connections clear the timer, and come by here again
