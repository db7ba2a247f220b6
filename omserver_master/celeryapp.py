"""The Celery application: a doorbell between masters and workers on other machines, and nothing more.

Its one task, ``omserver.ring``, says which jobs have changed. It goes to all Celery workers that listen at
that moment, and the broker keeps nothing of it: a ring that is lost, doubled, late or made up does no harm,
because the workers look at the database by themselves, and a claim there decides who does a job.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import SettingsError
from .settings import Settings

if TYPE_CHECKING:
    from celery import Celery

#: The name of the task.
RING = "omserver.ring"
#: The exchange that brings a message to everybody who listens.
BELL = "omserver.bell"
#: Seconds that the broker gets to connect, and to answer.
PATIENCE = 3.0
#: Seconds between two questions whether a connection that nothing came over is still good.
ALIVE = 10

#: What Celery logs about each single task: a ring is not worth a line.
_CHATTY = ("celery.worker.strategy", "celery.app.trace")


def make_app(settings: Settings) -> Celery:
    """The application of this site; nothing is connected yet.

    Raises:
        SettingsError: what reaches this broker is not installed here.
    """
    _check_installed(settings.broker_url)
    from celery import Celery
    from kombu.common import Broadcast

    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    app = Celery("omserver", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],  # whoever has the broker can ring, and do nothing else
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=PATIENCE,
        broker_heartbeat=ALIVE,
        broker_transport_options=_transport_options(settings.broker_url),
        broker_use_ssl=_tls(settings),
        task_default_queue=BELL,
        task_ignore_result=True,
        task_queues=[Broadcast(BELL)],
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


def publish(app: Celery, jobs: Collection[int]) -> None:
    """Ring for *jobs*.

    Raises:
        Exception: the broker cannot be reached just now; what is raised depends on which it is.
    """
    (bell,) = app.conf.task_queues
    # Without the exchange's kind a sender of its own takes it for one that brings a message to one listener.
    app.send_task(RING, [sorted(jobs)], retry=False, declare=[bell.exchange])


def answer(app: Celery, ring: Callable[[int], None]) -> None:
    """Let every ring that comes in call *ring* for each of its jobs."""

    def rung(jobs: Any) -> None:
        for job in jobs if isinstance(jobs, list) else ():
            if isinstance(job, int) and 0 <= job < 2**63:
                ring(job)

    app.task(rung, name=RING)


def reachable(app: Celery) -> None:
    """Connect to the broker once.

    Raises:
        Exception: it cannot be reached.
    """
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        connection.default_channel.close()


def _check_installed(url: str) -> None:
    wanted = ["celery"] + ["redis"] * url.startswith("redis")
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise SettingsError(f'EXECUTOR = "celery" needs the Python package {missing[0]}: the extra celery.')


def _tls(settings: Settings) -> dict[str, Any] | None:
    """What makes a client verify the broker and its name: of itself none does."""
    url = urlsplit(settings.broker_url)
    authorities = str(settings.broker_ca_file) if settings.broker_ca_file else None
    if url.scheme == "rediss":
        return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, "ssl_ca_certs": authorities}
    if url.scheme == "amqps":
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": url.hostname, "ca_certs": authorities}
    return None


def _transport_options(url: str) -> dict[str, Any]:
    if not url.startswith("redis"):
        return {}
    return {
        "socket_connect_timeout": PATIENCE,
        "socket_timeout": PATIENCE,
        "socket_keepalive": True,
        "health_check_interval": ALIVE,
    }
