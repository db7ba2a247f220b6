"""Die at every failpoint, with every kind of work; then the oracle says whether a promise was broken.

A cell is a failpoint, what happens there, what a repeat of the work means, and a database. The scenario of a
cell is the least that reaches its failpoint.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omserver_client.errors import OMServerError
from omserver_master.failpoints import PLACES
from omserver_master.jobs.states import FINAL_HOST

from . import evidence
from .acks import MODULES, Acks, Asked
from .oracle import Verdict
from .place import TARDY, Place
from .process import LOOK

#: Seconds in which a cell must reach its failpoint, and its jobs their ends after that, at a pace of 1.
REACH_LIMIT = 20.0
END_LIMIT = 120.0
HOSTS = ("h-01", "h-02", "late-1")
#: Seconds by which the clocks of workers are ahead.
AHEAD = 60.0


@dataclass(frozen=True)
class Cell:
    """One crash."""

    point: str
    action: str
    repeat: str
    scenario: str

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.point}={self.action}/{self.repeat}"


@dataclass
class Outcome:
    """How a cell went: whether its failpoint was reached, and what the oracle says."""

    cell: Cell
    reached: bool
    verdict: Verdict
    seconds: float
    recovery: float
    """Seconds from the last fault until every job was over."""

    @property
    def good(self) -> bool:
        return self.reached and not self.verdict.violations


class Scene:
    """One cell being played."""

    def __init__(self, place: Place, cell: Cell) -> None:
        self.place, self.cell, self.acks = place, cell, Acks()

    def wish(
        self, steps: int = 1, seconds: float = 0.2, hosts: tuple[str, ...] = HOSTS, **more: Any
    ) -> Asked:
        """Something to ask for."""
        token = f"tok-{secrets.token_hex(6)}"
        return self.acks.add(Asked(token, self.cell.repeat, steps, hosts, seconds, dict(more)))

    def submit(self, asked: Asked, limit: float = 40.0) -> None:
        """Ask until it is acknowledged, under one key; whoever lies dead is started again meanwhile."""

        def ask() -> None:
            with self.place.client() as client:
                options = {"confirm": len(asked.hosts), **asked.options}
                answer = client.submit(
                    asked.module, asked.params, list(asked.hosts), key=asked.token, **options
                )
            self.acks.submitted(asked, answer)

        self._until_answered(ask, limit)

    def cancel(self, asked: Asked, limit: float = 40.0) -> None:
        """Ask to cancel until that is acknowledged."""

        def ask() -> None:
            assert asked.job is not None
            with self.place.client() as client:
                client.cancel(asked.job)
            self.acks.told_to_cancel(asked)

        self._until_answered(ask, limit)

    def look(self, asked: Asked) -> None:
        """Note what a caller is shown of it now."""
        with contextlib.suppress(OMServerError), self.place.client() as client:
            self.acks.saw(asked, client.events(asked.job or 0), FINAL_HOST)

    def taken(self, asked: Asked, number: int = 1) -> None:
        """Wait until so many hosts have begun."""

        def begun() -> int:
            return sum(asked.token in line.get("command", "") for line in self.place.ledger())

        self.until(lambda: begun() >= number)

    def fired(self, mend: bool = True) -> None:
        """Wait until the failpoint was reached."""
        self.until(lambda: self.place.fired(self.cell.point), mend=mend)

    def until(self, there: Callable[[], bool], *, mend: bool = True) -> bool:
        """Wait until *there*, at most `REACH_LIMIT`."""
        end = time.monotonic() + REACH_LIMIT
        while not there() and time.monotonic() < end:
            if mend:
                self.place.mend()
            time.sleep(0.02)
        return there()

    def _until_answered(self, ask: Callable[[], None], limit: float) -> None:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            try:
                ask()
                return
            except (OMServerError, OSError, EOFError):
                self.place.mend()
                time.sleep(0.1)


def _plain(scene: Scene) -> None:
    scene.place.arm(scene.cell.point, scene.cell.action)
    scene.submit(scene.wish())
    scene.fired()


def _steps(scene: Scene) -> None:
    scene.place.arm(scene.cell.point, scene.cell.action)
    asked = scene.wish(steps=2)
    scene.submit(asked)
    scene.fired()
    scene.look(asked)


def _takeover(scene: Scene) -> None:
    """The first worker dies while hosts work; the second one meets the failpoint."""
    asked = scene.wish(seconds=1.0)
    scene.submit(asked)
    scene.taken(asked, len(HOSTS))
    scene.place.arm(scene.cell.point, scene.cell.action)
    _kill_owner(scene, asked)
    scene.fired()


def _bury(scene: Scene) -> None:
    """A worker dies, and then the master while it gives up that worker's claims."""
    _takeover(scene)


def _release(scene: Scene) -> None:
    """A worker is told to stop while hosts work."""
    asked = scene.wish(seconds=2.0)
    scene.submit(asked)
    scene.taken(asked, len(HOSTS))
    scene.place.arm(scene.cell.point, scene.cell.action)
    for worker in scene.place.workers():
        with contextlib.suppress(Exception):
            worker.terminate()
    scene.fired()


def _renew(scene: Scene) -> None:
    """Work that takes longer than a heartbeat."""
    scene.place.arm(scene.cell.point, scene.cell.action)
    scene.submit(scene.wish(seconds=round(12 * scene.place.pace, 1)))
    scene.fired()


def _cancel(scene: Scene) -> None:
    """A cancel while hosts work, in the first of two steps."""
    asked = scene.wish(steps=2, seconds=1.5)
    scene.submit(asked)
    scene.taken(asked, len(HOSTS))
    scene.place.arm(scene.cell.point, scene.cell.action)
    scene.cancel(asked)
    scene.fired()


def _cancel_sending(scene: Scene) -> None:
    """A cancel while a worker is about to send."""
    scene.place.arm(scene.cell.point, scene.cell.action)
    asked = scene.wish()
    scene.submit(asked)
    scene.fired()
    scene.cancel(asked)


def _down(scene: Scene) -> None:
    """The hosts cannot be reached at first; then they can."""
    scene.place.cut()
    time.sleep(2.1)  # what a worker knows of a connection stays good for two seconds
    scene.place.arm(scene.cell.point, scene.cell.action)
    scene.submit(scene.wish())
    if scene.cell.point.startswith("reason"):
        scene.until(lambda: False if not scene.acks.all()[0].job else _waits(scene))
        scene.place.join()
    scene.fired()
    scene.place.join()


def _cut(scene: Scene) -> None:
    """The hosts cannot be reached any more at the very moment of sending."""
    scene.place.arm("send.before", "sleep:0.5")
    asked = scene.wish()
    scene.submit(asked)
    scene.until(lambda: scene.place.fired("send.before"))
    scene.place.arm(scene.cell.point, scene.cell.action)
    scene.place.cut()
    scene.fired()
    scene.place.join()


def _batches(scene: Scene) -> None:
    """One host after the other."""
    scene.place.arm(scene.cell.point, scene.cell.action)
    scene.submit(scene.wish(rollout={"batch": "1"}))
    scene.fired()


def _overdue(scene: Scene) -> None:
    """All workers are busy until a job's time to start is over."""
    fillers = [scene.wish(seconds=8.0, hosts=(f"h-{n:02}",)) for n in range(1, 17)]
    for filler in fillers:
        scene.submit(filler)
    scene.taken(fillers[-1])
    scene.place.arm(scene.cell.point, scene.cell.action)
    scene.submit(scene.wish(start_before=1))
    scene.fired()


def _killed_at_once(scene: Scene) -> None:
    """The master dies as soon as it has acknowledged a job."""
    scene.submit(scene.wish())
    scene.place.kill_master()


def _clock_ahead(scene: Scene) -> None:
    """Workers whose clocks are a minute ahead die with their master: their claims run out all the same."""
    scene.place.set_clock("worker", AHEAD)
    time.sleep(5 * LOOK)
    asked = scene.wish(seconds=1.0)
    scene.submit(asked)
    scene.taken(asked, len(HOSTS))
    scene.place.kill_all()


def _late(scene: Scene) -> None:
    """A host answers when its time is over, and its job too."""
    asked = scene.wish(hosts=(TARDY,), timeout=1)
    scene.submit(asked)

    def kept() -> bool:
        with contextlib.suppress(OMServerError), scene.place.client() as client:
            return bool(client.results(asked.job or 0)["results"][0]["late"])
        return False

    scene.until(kept)


def _waits(scene: Scene) -> bool:
    with contextlib.suppress(OMServerError), scene.place.client() as client:
        return bool(client.job(scene.acks.all()[0].job or 0)["reason"])
    return False


def _kill_owner(scene: Scene, asked: Asked) -> None:
    """SIGKILL to the worker that has the job."""
    from sqlalchemy import select

    from omserver_master.store.engine import read
    from omserver_master.store.schema import jobs

    with read(scene.place.system.engine) as conn:
        name = conn.execute(select(jobs.c.worker).where(jobs.c.id == asked.job)).scalar()
    for worker in scene.place.workers():
        with contextlib.suppress(Exception):
            if str(name) in worker.cmdline():
                worker.kill()


SCENARIOS: Mapping[str, Callable[[Scene], None]] = {
    "plain": _plain,
    "steps": _steps,
    "takeover": _takeover,
    "bury": _bury,
    "release": _release,
    "renew": _renew,
    "cancel": _cancel,
    "cancel while sending": _cancel_sending,
    "down": _down,
    "cut": _cut,
    "batches": _batches,
    "overdue": _overdue,
    "killed at once": _killed_at_once,
    "clock ahead": _clock_ahead,
    "late": _late,
}

#: Where a scenario other than "plain" is needed to reach a failpoint.
_SCENARIO_OF: Mapping[str, str] = {
    "step": "steps",
    "answer": "steps",
    "takeover": "takeover",
    "bury": "bury",
    "release": "release",
    "renew": "renew",
    "cancel": "cancel",
    "cancelling": "cancel",
    "stop": "cancel",
    "start": "down",
    "reason": "down",
    "not_sent": "cut",
    "rollout": "batches",
    "stand": "batches",
    "settle": "overdue",
}
#: Where a process also falls asleep instead of dying, and wakes when its work has gone to another.
_SLEEPS = (
    "claim.after_commit",
    "left.read",
    "intent.after_commit",
    "send.before",
    "answer.taken",
    "step.after_commit",
)
_SLEEPS_TOO = ("results.after_commit", "takeover.asked", "finish.after_commit")


def cells() -> Iterator[Cell]:
    """All cells of one database."""
    for repeat in MODULES:
        for point in PLACES:
            scenario = _SCENARIO_OF.get(point.partition(".")[0], "plain")
            yield Cell(point, "kill", repeat, scenario)
            if point in (*_SLEEPS, *_SLEEPS_TOO):
                yield Cell(point, "stop", repeat, scenario)
            if point.endswith(".before_commit") and scenario not in ("bury", "overdue"):
                yield Cell(point, "error", repeat, scenario)
        yield Cell("submit.before_answer", "none", repeat, "killed at once")
        yield Cell("takeover.before_ask", "none", repeat, "clock ahead")
        yield Cell("results.after_commit", "none", repeat, "late")
        yield Cell("send.before", "sleep:0.7", repeat, "cancel while sending")
        yield Cell("send.now", "sleep:0.7", repeat, "cancel while sending")
        yield Cell("intent.before_commit", "sleep:0.7", repeat, "cancel while sending")


def play(place: Place, cell: Cell, *, end_limit: float | None = None, keep: Path | None = None) -> Outcome:
    """Play one cell, and judge it.

    Args:
        end_limit: seconds that its jobs get after the last fault.
        keep: the folder for the evidence, if something is wrong.
    """
    began = time.monotonic()
    scene = Scene(place, cell)
    SCENARIOS[cell.scenario](scene)
    reached = cell.action == "none" or place.fired(cell.point)
    if cell.action == "stop":
        _let_others_take_it(scene)
    place.heal()
    asked = scene.acks.all()
    for wish in asked:
        if wish.job is None:
            scene.submit(wish)
    limit = end_limit or END_LIMIT * max(0.25, place.pace)
    recovery = evidence.wait_until_final(place, asked, limit)
    for wish in asked[-1:]:
        scene.look(wish)
    if cell.action == "stop":
        time.sleep(0.5)  # a sleeper that woke up late may still do harm
    found = evidence.verdict(place, asked)
    if found.violations and keep is not None:
        evidence.keep(place, asked, keep)
    return Outcome(cell, reached, found, time.monotonic() - began, recovery)


def _let_others_take_it(scene: Scene) -> None:
    """Wait until the job of the sleeper is over, or at least its claim; then wake it."""
    evidence.wait_until_final(scene.place, scene.acks.all(), 60 * scene.place.pace)
    scene.place.wake_sleepers()
