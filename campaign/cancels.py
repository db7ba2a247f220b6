"""``python -m campaign cancels``: from a cancel's acknowledgement to the dead process, on real hosts.

Each work is cancelled at a random moment of one of `PHASES`. What became of it is read on its host: whether
its process lives, its heartbeat, its mark of having come to its end. That is compared with what the job's
row says in the end.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import machine
from omserver_client import Client
from omserver_master.jobs.dispatch import LATEST_SEND
from tests.ending import end_on_sigterm
from tests.system import wait_for_end

from .realhosts import ENGINES, MODULE, Host, RealPlace, wait_until

#: When the cancel comes: the job waits for a lock; it was just submitted; it was just written down that it is
#: being sent; the process works; it is about to end by itself.
PHASES = ("waits", "submitted", "dispatched", "running", "nearly done")
#: Seconds within which all but one of a hundred processes must be dead.
TARGET = 10.0
#: Seconds for which a work goes on where nobody stops it, and where its end is near.
LONG, SHORT = 90.0, 2.0
#: Seconds that a job has to begin or to end.
PATIENCE = 60.0
#: The lock that is never free.
LOCK = "held"


@dataclass
class Cancel:
    """One cancel, and what came of it. Moments are unix seconds."""

    engine: str
    phase: str
    host: str
    token: str
    job: int
    acknowledged: float
    state: str = ""
    """The host's row in the end, and its reason."""
    reason: str = ""
    recorded: float = 0.0
    """When the row got its end."""
    sent: float | None = None
    """When it was written down that the work is about to be sent; None: it never was."""
    began: float | None = None
    finished: float | None = None
    """When the work came to its own end; None: it was stopped, or never began."""
    alive: float | None = None
    """When its process was seen for the last time."""
    dead: float | None = None
    """When its process was found gone; None: it never lived, or lived to the last."""

    @property
    def seconds(self) -> float | None:
        """From the acknowledgement to the dead process; None where there was nothing to stop."""
        if self.dead is None or self.dead <= self.acknowledged or self.finished is not None:
            return None
        return self.dead - self.acknowledged

    @property
    def began_after(self) -> bool:
        return self.began is not None and self.began > self.acknowledged

    def wrong(self) -> Iterator[str]:
        """What is not as promised."""
        if self.began_after and (self.sent is None or self.sent > self.acknowledged):
            yield "it began after a cancel that was acknowledged before it was sent"
        if self.began_after and self.began is not None and self.began > (self.sent or 0) + LATEST_SEND:
            yield "it began later than anything may that was sent before"
        if self.began is not None and self.dead is None:
            yield "its process lives"
        if self.state == "not_started" and self.began is not None:
            yield "`not_started`, and it began"
        if self.state == "ok" and self.finished is None:
            yield "`ok`, and it did not come to its end"
        if self.state == "cancelled" and self.finished is not None:
            yield "`cancelled`, and it came to its end"
        if self.state == "cancelled" and self.alive is not None and self.alive > self.recorded:
            yield "called stopped before it was"
        if self.state == "unknown" and not self.reason:
            yield "`unknown` without a reason"
        if self.state not in ("ok", "cancelled", "not_started", "unknown"):
            yield f"{self.state}: {self.reason}"


@dataclass
class Report:
    """All cancels of a run."""

    cancels: list[Cancel] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        return [
            f"{one.engine} {one.host} job {one.job} ({one.phase}): {wrong}"
            for one in self.cancels
            for wrong in one.wrong()
        ]

    def seconds(self, engine: str = "") -> list[float]:
        """The times from acknowledgement to death, shortest first."""
        mine = (one.seconds for one in self.cancels if engine in ("", one.engine))
        return sorted(seconds for seconds in mine if seconds is not None)

    def table(self) -> str:
        """Figures for each engine, in Markdown."""
        head = "engine", "cancels", "processes stopped", "p50", "p99", "longest", "rows", "under way"
        lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
        engines = list(dict.fromkeys(one.engine for one in self.cancels))
        lines += [self._line(engine, engine) for engine in engines]
        if len(engines) > 1:
            lines.append(self._line("all", ""))
        return "\n".join(lines)

    def _line(self, name: str, engine: str) -> str:
        mine = [one for one in self.cancels if engine in ("", one.engine)]
        times = self.seconds(engine)
        states = Counter(one.state for one in mine).most_common()
        rows = ", ".join(f"{number} {state}" for state, number in states)
        figures = [f"{quantile(times, part):.2f} s" if times else "" for part in (0.5, 0.99, 1.0)]
        late = sum(one.began_after for one in mine)
        return "| " + " | ".join([name, str(len(mine)), str(len(times)), *figures, rows, str(late)]) + " |"

    @property
    def good(self) -> bool:
        times = self.seconds()
        return bool(times) and not self.violations and quantile(times, 0.99) <= TARGET


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest of *values*, in their order, that so large a *part* of them does not exceed."""
    return values[min(len(values) - 1, max(0, -int(-len(values) * part // 1) - 1))]


class Cancels:
    """Cancels *count* works on the hosts of *place*, several *at_once*.

    Args:
        latest: seconds after the last cancel in which something that was under way may still begin.
    """

    def __init__(
        self, place: RealPlace, count: int, seed: int, *, at_once: int = 6, latest: float = LATEST_SEND
    ) -> None:
        self.report = Report()
        self._place, self._count, self._at_once = place, count, at_once
        self._random = random.Random(seed)
        self._latest = latest
        self._lock = threading.Lock()
        self._watches: list[tuple[Cancel, Any]] = []
        self._failure: BaseException | None = None

    def run(self) -> Report:
        """Do them all; nothing of them runs when this returns."""
        plan = iter(self._plan())
        holder = self._hold_lock()
        players = [
            threading.Thread(target=self._play, args=(plan,), daemon=True) for _ in range(self._at_once)
        ]
        for player in players:
            player.start()
        for player in players:
            player.join()
        with self._place.client() as client:
            client.cancel(holder)
            wait_for_end(client, holder, PATIENCE)
        if self._failure is not None:
            raise self._failure
        self._look_again()
        return self.report

    def _plan(self) -> list[tuple[Host, str, float]]:
        """Engines and phases in turn, hosts and moments by chance."""
        engines = list(dict.fromkeys(host.engine for host in self._place.hosts))
        plan = []
        for number in range(self._count):
            engine = engines[number % len(engines)]
            host = self._random.choice([host for host in self._place.hosts if host.engine == engine])
            phase = PHASES[number // len(engines) % len(PHASES)]
            plan.append((host, phase, self._random.random()))
        return plan

    def _hold_lock(self) -> int:
        """A job that has the lock for as long as all this takes."""
        with self._place.client() as client:
            host = self._place.hosts[-1]
            params = self._place.params("holder", 900)
            job: int = client.submit(MODULE, params, [host.name], locks=[LOCK])["job"]["id"]
            assert wait_until(lambda: self._place.witness(host, "holder").began, PATIENCE)
        return job

    def _play(self, plan: Iterator[tuple[Host, str, float]]) -> None:
        with self._place.client() as client:
            while self._failure is None:
                with self._lock:
                    work = next(plan, None)
                if work is None:
                    return
                try:
                    self._cancel(client, *work)
                except BaseException as failure:
                    self._failure = failure
                    raise

    def _cancel(self, client: Client, host: Host, phase: str, chance: float) -> None:
        token = f"t{secrets.token_hex(8)}"
        witness = self._place.witness(host, token)
        params = self._place.params(token, SHORT if phase == "nearly done" else LONG)
        locks = [LOCK] if phase == "waits" else []
        job = client.submit(MODULE, params, [host.name], locks=locks)["job"]["id"]
        self._wait_for(client, job, witness, phase, chance)
        client.cancel(job)
        cancel = Cancel(host.engine, phase, host.name, token, job, time.time())
        self._follow(client, cancel, witness)
        with self._lock:
            self.report.cancels.append(cancel)
            self._watches.append((cancel, witness))

    def _wait_for(self, client: Client, job: int, witness: Any, phase: str, chance: float) -> None:
        """Until the moment of the cancel."""
        if phase == "waits":
            time.sleep(chance)
        elif phase == "submitted":
            time.sleep(chance * 0.1)
        elif phase == "dispatched":
            wait_until(lambda: client.results(job)["results"][0]["state"] != "pending", PATIENCE)
            time.sleep(chance * 0.3)
        elif phase == "running":
            assert wait_until(lambda: witness.began, PATIENCE), f"job {job} did not begin"
            time.sleep(chance * 3)
        elif phase == "nearly done":
            assert wait_until(lambda: witness.began, PATIENCE), f"job {job} did not begin"
            time.sleep(max(0.0, witness.began + SHORT + 0.2 - chance * 0.8 - time.time()))

    def _follow(self, client: Client, cancel: Cancel, witness: Any) -> None:
        """Watch the process until it is gone, and the job until it is over."""
        over = threading.Event()

        def watch() -> None:
            while True:
                now, began = time.time(), witness.began
                if witness.lives():
                    cancel.alive = now
                elif began is not None:
                    cancel.dead = time.time()
                    return
                elif over.is_set():
                    return
                if time.time() > cancel.acknowledged + PATIENCE:
                    return
                time.sleep(0.02)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            wait_for_end(client, cancel.job, PATIENCE)
        finally:
            over.set()
            watcher.join()
        row = client.results(cancel.job)["results"][0]
        cancel.state, cancel.reason = row["state"], row["reason"]
        cancel.recorded, cancel.sent = row["finished"], row["started"]

    def _look_again(self) -> None:
        """When nothing can be under way any more: what has begun meanwhile, and what lives."""
        last = max(one.acknowledged for one in self.report.cancels)
        time.sleep(max(0.0, last + self._latest - time.time()))
        for cancel, witness in self._watches:
            cancel.began, cancel.finished = witness.began, witness.finished
            if cancel.began is not None and witness.lives():
                cancel.dead = None
            elif cancel.began is not None and cancel.dead is None:
                cancel.dead = witness.last_beat


def main(words: Sequence[str]) -> int:
    """0 when nothing was wrong and the target was met; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m campaign cancels", description=__doc__)
    parser.add_argument("--engines", default=",".join(ENGINES), help="kinds of connections (all real ones)")
    parser.add_argument("--count", type=int, default=300, help="cancels, all engines together (300)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of what is random")
    parser.add_argument("--at-once", type=int, default=6, help="so many works at a time (6)")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args(words)
    end_on_sigterm()
    print(f"seed {options.seed}", flush=True)
    with RealPlace(options.engines.split(",")) as place:
        report = Cancels(place, options.count, options.seed, at_once=options.at_once).run()
    print(report.table())
    for violation in report.violations:
        print(f"VIOLATION {violation}")
    if options.json:
        told: dict[str, Any] = {"machine": machine(), "seed": options.seed}
        told |= {"cancels": [asdict(one) | {"seconds": one.seconds} for one in report.cancels]}
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    print(json.dumps({"what": "cancels", "all": len(report.cancels), "bad": len(report.violations)}))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
