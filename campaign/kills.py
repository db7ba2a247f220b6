"""SIGKILL to each kind of process in each phase of a job's life, while other jobs go on.

A phase is a place in the code where a job is held for a moment; what dies there is either the process that
holds it, by its own hand, or another one, from outside. Each death is counted under its kind and phase.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psutil
from sqlalchemy import select

from omserver_client.errors import OMServerError
from omserver_master.jobs.states import FINAL_HOST
from omserver_master.store.engine import read
from omserver_master.store.schema import jobs

from . import evidence
from .acks import MODULES, Acks, Asked
from .celeryplace import CeleryPlace
from .oracle import Verdict
from .place import Place
from .saltplace import SaltPlace

#: Where a job is held in each phase. Dispatched has no place in our code: the hosts say when they work.
PHASES: Mapping[str, str] = {
    "before the submit commits": "submit.before_commit",
    "queued": "claim.before_commit",
    "intent": "intent.after_commit",
    "dispatched": "",
    "results": "results.after_commit",
    "before the last commit": "finish.before_commit",
}
KINDS = ("web", "master", "worker", "child", "database", "salt-master", "redis")
#: Who reaches a phase's place: it dies by its own hand.
_OWN_HAND = {
    ("master", "before the submit commits"),
    *(("worker", phase) for phase in ("queued", "intent", "results", "before the last commit")),
}
HELD = "sleep:0.4"
#: Seconds in which a job must come into its phase, and everything must be over after the last death.
REACH_LIMIT = 60.0
END_LIMIT = 120.0
#: So many jobs may still be on their way from earlier deaths; else the next one waits.
MOST_OPEN = 3


@dataclass
class Deaths:
    """What a round was made of, and how it ended."""

    by_cell: Counter[str] = field(default_factory=Counter)
    """How many, by ``kind/phase``."""
    missed: Counter[str] = field(default_factory=Counter)
    """Cells whose phase was not reached in time, or where there was no such process."""
    verdict: Verdict = field(default_factory=Verdict)
    recovery: float = 0.0
    """Seconds from the last death until every job was over."""
    back: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from each death until the job that was held had its end, by ``kind/phase``."""


def cells(place: Place, kinds: Sequence[str] = KINDS) -> list[tuple[str, str]]:
    """Every kind that can die at *place*, in every phase."""
    absent = set() if place.server.can_die else {"database"}
    absent |= {"web"} if place.console is None else set()
    absent |= set() if isinstance(place, SaltPlace) else {"salt-master"}
    absent |= set() if isinstance(place, CeleryPlace) else {"redis"}
    return [(kind, phase) for kind in kinds if kind not in absent for phase in PHASES]


class Round:
    """A row of deaths at one place, judged together.

    Args:
        seed: of what is asked for, and of the order of deaths.
    """

    def __init__(self, place: Place, seed: int) -> None:
        self.place, self.acks, self.deaths = place, Acks(), Deaths()
        self._chance = random.Random(seed)
        self._gone = threading.Event()
        self._callers: list[threading.Thread] = []
        self._died: dict[str, tuple[str, float]] = {}
        self._browser = place.browser() if place.console is not None else None

    def play(self, plan: Sequence[tuple[str, str]]) -> Deaths:
        """Kill everything of *plan* in some order, wait for the end of every job, and judge."""
        order = list(plan)
        self._chance.shuffle(order)
        for kind, phase in order:
            done = self._kill(kind, phase)
            (self.deaths.by_cell if done else self.deaths.missed)[f"{kind}/{phase}"] += 1
            self._let_some_end()
        self.place.heal()
        self._until(lambda: not any(caller.is_alive() for caller in self._callers), END_LIMIT)
        self._gone.set()
        asked = self.acks.all()
        self.deaths.recovery = evidence.wait_until_final(self.place, asked, END_LIMIT)
        self.deaths.verdict = evidence.verdict(self.place, asked)
        return self.deaths

    def _kill(self, kind: str, phase: str) -> bool:
        point = PHASES[phase]
        if kind == "child" and not self.place.children():
            self._ask(by_browser=False)
            self._let_some_end(0)  # now there are warm processes for module code
        if point:
            self.place.arm(point, "kill" if (kind, phase) in _OWN_HAND else HELD)
        asked = self._ask(by_browser=kind == "web" or self._chance.random() < 0.3)
        there = (lambda: self.place.fired(point)) if point else (lambda: self._is_at_work(asked))
        reached = self._until(there, REACH_LIMIT)
        if not reached:
            self.place.disarm()
            return False
        self._died[asked.token] = f"{kind}/{phase}", time.monotonic()
        return (kind, phase) in _OWN_HAND or _DEEDS[kind](self, asked)

    # -- what dies

    def kill_web(self, asked: Asked) -> bool:
        """The console, through which the job was asked for."""
        return self.place.kill_console()

    def kill_master(self, asked: Asked) -> bool:
        """The master alone."""
        self.place.kill_master()
        return True

    def kill_worker(self, asked: Asked) -> bool:
        """The worker that has the job, or any where none has it yet."""
        workers = self.place.workers()
        mine = [worker for worker in workers if _is_called(worker, self._owner(asked))]
        return _kill_one(self._chance, mine or workers)

    def kill_child(self, asked: Asked) -> bool:
        """A process in which module code runs: of the worker that has the job, if there is one."""
        children = self.place.children()
        name = self._owner(asked)
        mine = [child for child in children if (parent := _parent(child)) and _is_called(parent, name)]
        return _kill_one(self._chance, mine or children)

    def kill_database(self, asked: Asked) -> bool:
        """The database server with all its processes."""
        self.place.server.kill()
        return True

    def kill_salt_master(self, asked: Asked) -> bool:
        """The Salt master, over which the job's hosts are reached."""
        assert isinstance(self.place, SaltPlace)
        return self.place.kill_salt_master()

    def hurt_redis(self, asked: Asked) -> bool:
        """The Redis, by which the master rings the workers: killed, or flushed."""
        assert isinstance(self.place, CeleryPlace)
        return self.place.hurt_redis(self._chance)

    def _owner(self, asked: Asked) -> str | None:
        try:
            with read(self.place.system.engine) as conn:
                mine = select(jobs.c.worker).where(jobs.c.idempotency_key == asked.token)
                return conn.execute(mine).scalar()
        except OMServerError:
            return None

    # -- who asks

    def _ask(self, *, by_browser: bool) -> Asked:
        hosts = self._chance.sample(self.place.obedient, self._chance.randint(1, 3))
        if self.place.slow:
            hosts.append(self._chance.choice(self.place.slow))
        token = f"tok-{self._chance.getrandbits(64):016x}"
        asked = Asked(
            token,
            self._chance.choice(list(MODULES)),
            self._chance.choice((1, 1, 2)),
            tuple(hosts),
            self._chance.choice((0.1, 0.5)),
        )
        self.acks.add(asked)
        caller = threading.Thread(target=self._insist, args=(asked, by_browser), daemon=True)
        self._callers.append(caller)
        caller.start()
        return asked

    def _insist(self, asked: Asked, by_browser: bool) -> None:
        """Ask until it is answered, then watch until the job is over."""
        submit = self._submit_by_browser if by_browser and self._browser else self._submit
        for deed in submit, self._watch:
            while not self._gone.is_set():
                try:
                    deed(asked)
                    break
                except (OMServerError, OSError, EOFError):
                    time.sleep(0.1)

    def _submit(self, asked: Asked) -> None:
        with self.place.client() as client:
            many = len(asked.hosts)
            answer = client.submit(
                asked.module, asked.params, list(asked.hosts), key=asked.token, confirm=many
            )
        self.acks.submitted(asked, answer)

    def _submit_by_browser(self, asked: Asked) -> None:
        assert self._browser is not None
        self.acks.submitted(asked, {"job": {"id": self._browser.submit(asked)}})

    def _watch(self, asked: Asked) -> None:
        assert asked.job is not None
        since = 0
        with self.place.client() as client:
            while not self._gone.is_set() and not asked.seen_end:
                news = client.events(asked.job, since, wait=2)
                since = news["event"]
                self.acks.saw(asked, news, FINAL_HOST)
        if asked.seen_end and asked.token in self._died:
            cell, died = self._died[asked.token]
            self.deaths.back.setdefault(cell, []).append(round(time.monotonic() - died, 2))

    # -- waiting

    def _is_at_work(self, asked: Asked) -> bool:
        return any(asked.token in line.get("command", "") for line in self.place.ledger())

    def _let_some_end(self, most: int = MOST_OPEN) -> None:
        self.place.mend()
        self._until(lambda: sum(not asked.seen_end for asked in self.acks.all()) <= most, END_LIMIT)

    def _until(self, there: Callable[[], bool], seconds: float) -> bool:
        """Wait until *there*, and start again meanwhile what is dead."""
        end = time.monotonic() + seconds
        while not there() and time.monotonic() < end:
            self.place.mend()
            time.sleep(0.02)
        return there()


_DEEDS: Mapping[str, Callable[[Round, Asked], bool]] = {
    "web": Round.kill_web,
    "master": Round.kill_master,
    "worker": Round.kill_worker,
    "child": Round.kill_child,
    "database": Round.kill_database,
    "salt-master": Round.kill_salt_master,
    "redis": Round.hurt_redis,
}


def _kill_one(chance: random.Random, processes: Sequence[psutil.Process]) -> bool:
    if not processes:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        chance.choice(sorted(processes, key=lambda process: process.pid)).kill()
        return True
    return False


def _parent(process: psutil.Process) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.parent()
    return None


def _is_called(worker: psutil.Process, name: str | None) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return name is not None and name in worker.cmdline()
    return False


def table(by_cell: Mapping[str, int]) -> str:
    """Deaths by kind and phase, in Markdown."""
    return "\n".join(_lines(by_cell))


def _lines(by_cell: Mapping[str, int]) -> Iterator[str]:
    kinds = sorted({name.partition("/")[0] for name in by_cell}, key=KINDS.index)
    yield "| killed | " + " | ".join(PHASES) + " | all |"
    yield "| --- " * (len(PHASES) + 2) + "|"
    for kind in kinds:
        numbers = [by_cell.get(f"{kind}/{phase}", 0) for phase in PHASES]
        yield f"| {kind} | " + " | ".join(map(str, [*numbers, sum(numbers)])) + " |"
    sums = [sum(by_cell.get(f"{kind}/{phase}", 0) for kind in kinds) for phase in PHASES]
    yield "| all | " + " | ".join(map(str, [*sums, sum(sums)])) + " |"


def recoveries(seconds: Sequence[float]) -> str:
    """How long it took from deaths until the jobs that were held there had their ends, in one line."""
    if not seconds:
        return "no job that was held by a death was followed to its end"
    ordered = sorted(seconds)
    half, most = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return (
        f"from a death to the end of the job that was held there ({len(ordered)}): half within {half:.1f} s, "
        f"99 of 100 within {most:.1f} s, all within {ordered[-1]:.1f} s"
    )
