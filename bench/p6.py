"""P6: invented hosts that answer as fast as their answers are stored, and somebody who watches."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from omserver_client import Client

from .pairs import Compared
from .saltrows import MODULE
from .simsite import Load, SimSite, held, percentile, sim_site

#: Hosts of a job, and jobs at a time.
HOSTS, JOBS = 2000, 3
OUTPUT = 200


def measure(pairs: int, only: str, load: Load) -> list[Compared]:
    """All figures of this row; *pairs* and *only* are for the rows with two sides."""
    with sim_site(load, load.size or HOSTS, size=OUTPUT) as site:
        rate, lags = _flood(site, load.seconds)
    on = f"on {load.database}"
    return [
        held(f"results stored, {on}", rate, 2000, unit="results/s", more=True),
        held(f"99 of 100 results are seen by who watches within, {on}", percentile(lags, 0.99), 2.0),
    ]


def _flood(site: SimSite, seconds: float) -> tuple[float, list[float]]:
    """Results seen in a second, and how long after the host's answer each was seen."""
    lags: list[float] = []
    began = time.monotonic()

    def keep_busy() -> None:
        with closing(site.system.client()) as client:
            client.timeout = 300.0
            _watch(client, site, lags)
            while time.monotonic() < began + seconds:
                _watch(client, site, lags)

    watchers = [threading.Thread(target=keep_busy) for _ in range(JOBS)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()
    return len(lags) / (time.monotonic() - began), lags


def _watch(client: Client, site: SimSite, lags: list[float]) -> None:
    job = client.submit(MODULE, None, site.hosts)["job"]["id"]
    for result in client.watch(job):
        if result["state"] == "ok":
            lags.append(time.time() - float(result["first_line"]))
