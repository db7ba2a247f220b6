"""``python -m campaign takeovers``: from a worker's death to its jobs' being another worker's, at full pace.

The workers that die are not their master's children: as on another machine, nobody sees them die, and only
their claims tell, when those run out. Each holds several jobs when it is killed. In the end the oracle says
whether anything was lost, or done twice that may not be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import RowMapping, func, select

from bench.machine import machine
from omserver_client.errors import OMServerError
from omserver_master.jobs.claiming import MOST_JOBS
from omserver_master.store.engine import read
from omserver_master.store.schema import jobs
from tests.ending import end_on_sigterm
from tests.system import CHECKOUT

from . import evidence
from .acks import MODULES, Acks, Asked
from .cancels import quantile
from .oracle import Verdict
from .place import OBEDIENT, Place
from .servers import DATABASES

#: Seconds within which all but one of a hundred jobs must have another worker, at a pace of 1.
TARGET = 45.0
#: Jobs that each worker has on average.
JOBS_EACH = 3
#: Seconds that a step lasts, from and to, at a pace of 1.
SECONDS = (3.0, 12.0)
#: Seconds that all jobs get to end after the last death, at a pace of 1.
END_LIMIT = 180.0


@dataclass
class Death:
    """One death of a worker. Moments are unix seconds."""

    worker: str
    at: float
    held: dict[int, int]
    """Its jobs by id, and which claim of each it had; without those that were over just before."""
    taken: dict[int, float] = field(default_factory=dict)
    """When another worker had claimed each, up to `Takeovers.LOOK`."""

    @property
    def seconds(self) -> list[float]:
        """For each of its jobs, how long it had no worker that lived."""
        return [moment - self.at for moment in self.taken.values()]


@dataclass
class Report:
    """All deaths of a run."""

    deaths: list[Death] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def seconds(self) -> list[float]:
        """The times of all jobs, shortest first."""
        return sorted(seconds for death in self.deaths for seconds in death.seconds)

    @property
    def missing(self) -> list[int]:
        """Jobs that nobody has taken up."""
        return [job for death in self.deaths for job in death.held if job not in death.taken]

    def table(self) -> str:
        """The figures, in Markdown."""
        head = "what", "number", "p50", "p99", "longest"
        last = sorted(max(death.seconds) for death in self.deaths if death.seconds)
        lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
        for name, times in (("jobs taken up", self.seconds), ("deaths, until the last of its jobs", last)):
            parts = [f"{quantile(times, part):.1f} s" if times else "" for part in (0.5, 0.99, 1.0)]
            lines.append("| " + " | ".join([name, str(len(times)), *parts]) + " |")
        return "\n".join(lines)


class Takeovers:
    """Kills one worker after another while people submit.

    Args:
        workers: how many there are, beside the master's own one.
        every: seconds between two deaths.
        within: seconds after which nobody is killed any more.
    """

    #: Seconds between two looks at whose the jobs are.
    LOOK = 0.1

    def __init__(
        self,
        place: Place,
        deaths: int,
        seed: int,
        workers: int = 8,
        every: float = 3.0,
        within: float = math.inf,
    ) -> None:
        self.report, self.acks = Report(), Acks()
        self._place, self._deaths, self._every = place, deaths, every
        self._until = time.monotonic() + within
        self._chance = random.Random(seed)
        self._number = 0
        self._wanted = workers
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._submitting, self._watching = threading.Event(), threading.Event()

    def run(self) -> Report:
        """Do it, wait for the end of every job, and judge."""
        threads = [threading.Thread(target=work, daemon=True) for work in (self._submit, self._watch)]
        try:
            for _ in range(self._wanted):
                self._hire()
            for thread in threads:
                thread.start()
            while len(self.report.deaths) < self._deaths and time.monotonic() < self._until:
                if self._kill_one():
                    self._hire()
                    time.sleep(self._every)
                else:
                    time.sleep(0.2)
            self._submitting.set()
            threads[0].join()
            evidence.wait_until_final(self._place, self.acks.all(), END_LIMIT)
        finally:
            self._submitting.set()
            self._watching.set()
            for thread in threads:
                if thread.is_alive():
                    thread.join()
            for worker in self._workers.values():
                worker.kill()
                worker.wait(10)
        self.report.verdict = evidence.verdict(self._place, self.acks.all())
        return self.report

    def _hire(self) -> None:
        """One more worker, that the master knows nothing of."""
        self._number += 1
        name = f"elsewhere-{self._number}"
        argv = [sys.executable, "-m", "campaign.process", "worker", "--name", name]
        with (self._place.folder / "workers.log").open("ab") as log:
            self._workers[name] = subprocess.Popen(
                argv,
                cwd=CHECKOUT,
                env=self._place.system.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _kill_one(self) -> bool:
        """SIGKILL to the worker that has the most jobs; False: none has two."""
        held = self._held()
        name = max(held, key=lambda worker: len(held[worker]), default="")
        if not name or len(held[name]) < 2:
            return False
        death = Death(name, time.time(), held[name])
        worker = self._workers.pop(name)
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
        self.report.deaths.append(death)
        return True

    def _held(self) -> dict[str, dict[int, int]]:
        """The jobs of each worker that may be killed, with the number of their claim."""
        held: dict[str, dict[int, int]] = {}
        for row in self._open_jobs():
            if row["worker"] in self._workers:
                held.setdefault(row["worker"], {})[row["id"]] = row["attempt"]
        return held

    def _open_jobs(self) -> Sequence[RowMapping]:
        columns = jobs.c.id, jobs.c.worker, jobs.c.attempt
        with read(self._place.system.engine) as conn:
            return conn.execute(select(*columns).where(jobs.c.finished.is_(None))).mappings().all()

    def _watch(self) -> None:
        """Note when the jobs of the dead get another worker."""
        while not self._watching.wait(self.LOOK):
            open_deaths = [death for death in list(self.report.deaths) if len(death.taken) < len(death.held)]
            ids = [job for death in open_deaths for job in death.held if job not in death.taken]
            if not ids:
                continue
            with read(self._place.system.engine) as conn:
                query = select(jobs.c.id, jobs.c.attempt, jobs.c.finished).where(jobs.c.id.in_(ids))
                rows = {row.id: row for row in conn.execute(query)}
            now = time.time()
            for death in open_deaths:
                for job in death.held.keys() & rows.keys():
                    if rows[job].attempt > death.held[job]:
                        death.taken[job] = now
                    elif rows[job].finished is not None:
                        del death.held[job]

    def _submit(self) -> None:
        """See to it that there are jobs enough."""
        with self._place.client() as client:
            while not self._submitting.wait(0.05):
                if self._number_of_open() >= JOBS_EACH * self._wanted + MOST_JOBS:
                    continue
                asked = self.acks.add(self._wish())
                with contextlib.suppress(OMServerError):
                    hosts = list(asked.hosts)
                    more = {"key": asked.token, "confirm": len(hosts), "timeout": 120}
                    answer = client.submit(asked.module, asked.params, hosts, **more)
                    self.acks.submitted(asked, answer)

    def _number_of_open(self) -> int:
        """The jobs that have a worker that lives (the master's own takes the first), or wait for one."""
        dead = {death.worker for death in list(self.report.deaths)}
        open_jobs = select(jobs.c.worker, func.count()).where(jobs.c.finished.is_(None))
        with read(self._place.system.engine) as conn:
            counts = conn.execute(open_jobs.group_by(jobs.c.worker)).all()
        return sum(number for worker, number in counts if worker not in dead)

    def _wish(self) -> Asked:
        chance = self._chance
        hosts = tuple(chance.sample(OBEDIENT, chance.randint(1, 3)))
        repeat, steps = chance.choice(list(MODULES)), chance.choice((1, 2))
        token = f"tok-{chance.getrandbits(64):016x}"
        seconds = chance.uniform(*SECONDS) * max(self._place.pace, 0.2)
        return Asked(token, repeat, steps, hosts, round(seconds, 1))


def main(words: Sequence[str]) -> int:
    """0 when no promise was broken and the target was met; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m campaign takeovers", description=__doc__)
    parser.add_argument("--deaths", type=int, default=100, help="how many workers are killed (100)")
    parser.add_argument("--workers", type=int, default=8, help="how many there are at a time (8)")
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two deaths (3)")
    parser.add_argument("--minutes", type=float, default=30.0, help="after which nobody is killed (30)")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of what is random")
    parser.add_argument("--pace", type=float, default=1.0, help="claims and heartbeats times this (1)")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--keep", type=Path, help="folder for the evidence of what went wrong")
    options = parser.parse_args(words)
    end_on_sigterm()
    print(f"seed {options.seed}", flush=True)
    with Place(options.database, pace=options.pace, workers=1) as place:
        takeovers = Takeovers(
            place, options.deaths, options.seed, options.workers, options.every, options.minutes * 60
        )
        report = takeovers.run()
        if report.verdict.violations and options.keep:
            evidence.keep(place, takeovers.acks.all(), options.keep)
    print(report.table())
    for what, text in report.verdict.violations:
        print(f"VIOLATION {what}: {text}")
    figures = dict(report.verdict.figures)
    print(json.dumps({"what": "takeovers", "pace": options.pace, "missing": report.missing, **figures}))
    if options.json:
        told = {"machine": machine(), "seed": options.seed, "pace": options.pace, "figures": figures}
        told["deaths"] = [asdict(death) for death in report.deaths]
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    times = report.seconds
    late = not times or quantile(times, 0.99) > TARGET * options.pace
    return 1 if late or report.missing or report.verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
