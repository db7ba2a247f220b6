"""``omserver worker``: run jobs from the database's queue."""

from __future__ import annotations

import os
import signal

import click

from omserver_client.errors import OMServerError

from ..settings import PREFIX, check_on_pause, load_settings
from .master import log_to_stderr


@click.command(name="worker")
@click.option("--name", default=None, help="Name of this worker; default: host name and process id.")
@click.option("--bell", type=int, default=None, hidden=True, help="File descriptor of the master's doorbell.")
@click.option("--parent", type=int, default=None, hidden=True, help="Process id of the master.")
def command(name: str | None, bell: int | None, parent: int | None) -> None:
    """Run jobs from the queue until SIGTERM or Ctrl-C. `omserver master` starts its own workers."""
    from ..jobs.bell import Bell
    from ..jobs.claiming import MOST_JOBS
    from ..jobs.worker import Worker
    from ..registry.pool import ChildPool
    from ..store.engine import make_engine

    log_to_stderr()
    name = name or f"{os.uname().nodename}-{os.getpid()}"
    try:
        settings = load_settings()
        if parent is None:  # a master has looked when it started; one that lost the program needs workers too
            check_on_pause(settings)
        # Where engines keep what outlives a worker, also when the folder is the default one.
        os.environ[f"{PREFIX}HOME"] = str(settings.home)
        engine = make_engine(settings.database_url, pool_size=MOST_JOBS + 4)
        with ChildPool(2) as pool:
            heard = Bell.from_fd(bell) if bell is not None else None
            running = Worker(name, settings, engine, pool, heard, parent)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: running.stop())
            running.run()
    except OMServerError as error:
        raise click.ClickException(str(error)) from error
