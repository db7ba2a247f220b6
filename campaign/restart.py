"""Kill a whole OMServer with very many hosts at work, start it again: when does it take and do work?

    python -m campaign.restart --database postgresql

Ten jobs on 10,000 invented hosts each that do not end. The master and all of its processes get SIGKILL; then
a caller wants a job done on one more host. All hosts that were at work must be so still.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import func, select

from bench.machine import machine
from bench.saltrows import MODULE
from bench.simsite import DATABASES, Load, SimSite, sim_site
from omserver_master.store.engine import read
from omserver_master.store.schema import host_results, jobs
from tests.ending import end_on_sigterm
from tests.system import wait_for_end

JOBS = 10
#: Seconds from the start of the master to a job that is acknowledged.
LIMIT = 30.0
WELL = "well"
RULES = {WELL: {}, "*": {"seconds": 100_000}}


@dataclass(frozen=True)
class Restarted:
    """Seconds since the master was started again; *taken_up* is -1 if nobody waited for it."""

    accepted: float
    done: float
    taken_up: float
    still_at_work: int
    lost: int

    @property
    def good(self) -> bool:
        """Whether it took work in time, and lost nothing."""
        return self.accepted <= LIMIT and self.lost == 0


def restart(site: SimSite, *, follow: bool) -> Restarted:
    """Fill *site* with work that does not end, kill it, start it again; *follow*: until all is taken up."""
    many = [name for name in site.hosts if name != WELL]
    with closing(site.system.client(timeout=120.0)) as client:
        open_jobs = [client.submit(MODULE, None, many, timeout=86_400)["job"]["id"] for _ in range(JOBS)]
    while _at_work(site) < JOBS * len(many):
        time.sleep(0.2)
    process = site.system.process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    began = time.monotonic()
    site.system.start()
    with closing(site.system.client(timeout=120.0)) as client:
        job = client.submit(MODULE, None, [WELL])["job"]["id"]
        accepted = time.monotonic() - began
        wait_for_end(client, job, 300)
        done = time.monotonic() - began
    while follow and _taken_up(site, open_jobs) < JOBS:
        time.sleep(0.2)
    taken_up = time.monotonic() - began if follow else -1.0
    time.sleep(5.0 if follow else 0.0)  # for what a worker that takes up gets wrong
    left = _at_work(site)
    return Restarted(accepted, done, taken_up, left, JOBS * len(many) - left)


def _at_work(site: SimSite) -> int:
    with read(site.system.engine) as conn:
        mine = select(func.count()).where(host_results.c.state == "dispatched")
        return int(conn.execute(mine).scalar_one())


def _taken_up(site: SimSite, open_jobs: list[int]) -> int:
    with read(site.system.engine) as conn:
        again = jobs.c.id.in_(open_jobs), jobs.c.attempt > 1
        return int(conn.execute(select(func.count()).where(*again)).scalar_one())


def main() -> int:
    """0 when it took work in time and lost nothing; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m campaign.restart", description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000, help="hosts of each of ten jobs (10000)")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args()
    end_on_sigterm()
    names = [WELL, *(f"busy-{place:05}" for place in range(options.hosts))]
    with sim_site(Load(options.database), options.hosts, rules=RULES, names=names) as site:
        found = restart(site, follow=True)
    told = {"database": options.database, "open": JOBS * options.hosts, **asdict(found), "good": found.good}
    print(json.dumps(told))
    if options.json:
        options.json.write_text(json.dumps(told | {"machine": machine()}, indent=1), encoding="utf-8")
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
