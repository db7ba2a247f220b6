"""P5: callers that launch jobs at a steady pace, each with one invented host, while the jobs run."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from omserver_client import Client

from .pairs import Compared
from .saltrows import MODULE
from .simsite import Load, SimSite, held, percentile, sim_site

#: Programs that launch at once, and launches in a second of all of them, if the master can take so many.
CALLERS = 4
PACE = 110
HOSTS = 100


def measure(pairs: int, only: str, load: Load) -> list[Compared]:
    """All figures of this row; *pairs* and *only* are for the rows with two sides."""
    with sim_site(load, HOSTS) as site:
        taken, ended = _launch(site, load.seconds)
    on = f"on {load.database}"
    return [
        held(f"launches acknowledged, {on}", len(taken) / load.seconds, 100, unit="jobs/s", more=True),
        held(f"half of the launches take at most, {on}", percentile(taken, 0.5), 0.025),
        held(f"99 of 100 launches take at most, {on}", percentile(taken, 0.99), 0.150),
        held(
            f"jobs that had ended when the last was launched, {on}",
            ended / load.seconds,
            100,
            unit="jobs/s",
            more=True,
        ),
    ]


def _launch(site: SimSite, seconds: float) -> tuple[list[float], int]:
    """How long each launch took, and how many of the jobs had ended by then."""
    taken: list[float] = []
    ready, begin = threading.Barrier(CALLERS + 1), threading.Event()

    def call(number: int) -> None:
        with closing(site.system.client()) as client:
            _one(client, site.hosts[number])
            ready.wait()
            begin.wait()
            first, place = time.perf_counter() + number / PACE, number
            while (began := time.perf_counter()) < first + seconds:
                _one(client, site.hosts[place % len(site.hosts)])
                taken.append(time.perf_counter() - began)
                place += CALLERS
                time.sleep(max(0.0, began + CALLERS / PACE - time.perf_counter()))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    ready.wait(60)
    begin.set()
    for caller in callers:
        caller.join()
    with closing(site.system.client()) as client:
        status = client.status()
    return taken, max(0, len(taken) - status["queued"] - status["running"])


def _one(client: Client, host: str) -> None:
    client.submit(MODULE, None, [host])
