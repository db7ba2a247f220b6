"""People who submit, watch, repeat and cancel, while things die around them at random moments."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil

from omserver_client import Client
from omserver_client.errors import OMServerError
from omserver_master.failpoints import PLACES
from omserver_master.jobs.states import FINAL_HOST

from . import evidence, ioerrors
from .acks import MODULES, Acks, Asked
from .celeryplace import CeleryPlace
from .console import Browser
from .oracle import Verdict
from .place import Place
from .process import CLOCK_OWNERS
from .saltplace import SaltPlace

#: Seconds that everything gets to end after the last fault, at a pace of 1.
END_LIMIT = 600.0
#: Seconds that callers go on asking after the last fault.
LAST_WORDS = 60.0
#: Seconds by which a clock is wrong at most.
MOST_WRONG = 120.0


@dataclass
class Weather:
    """What a storm was made of, and how it ended."""

    seed: int
    database: str
    pace: float
    seconds: float
    faults: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    recovery: float = 0.0
    """Seconds from the last fault until every job was over."""


class Storm:
    """One storm over one place.

    Args:
        seed: of everything that is random: what is asked for, and which faults come when.
        seconds: how long faults are made.
    """

    def __init__(self, place: Place, seed: int, seconds: float, people: int = 4) -> None:
        self.place, self.acks = place, Acks()
        self.weather = Weather(seed, place.database, place.pace, seconds)
        self._people, self._doubled = people, list[Asked]()
        self._browser = place.browser() if place.console is not None else None
        self._over = threading.Event()
        self._gone = threading.Event()

    def rage(self) -> Weather:
        """Let it rage, wait for the end of every job, and judge."""
        callers = [
            threading.Thread(target=self._live, args=(number,), name=f"caller {number}", daemon=True)
            for number in range(self._people)
        ]
        for caller in callers:
            caller.start()
        self._make_faults()
        self._over.set()
        self.weather.faults["request sent twice at once"] = len(self._doubled)
        self.place.heal()
        until = time.monotonic() + LAST_WORDS
        for caller in callers:
            while caller.is_alive() and time.monotonic() < until:
                caller.join(0.5)
                self.place.mend()
        self._gone.set()
        asked = self.acks.all()
        self.weather.recovery = evidence.wait_until_final(
            self.place, asked, END_LIMIT * max(0.1, self.place.pace)
        )
        self.weather.verdict = evidence.verdict(self.place, asked)
        return self.weather

    # -- faults

    def _make_faults(self) -> None:
        chance = random.Random(f"{self.weather.seed}/faults")
        kinds = {kind: weight for kind, (weight, _) in FAULTS.items() if _can_be(kind, self.place)}
        end = time.monotonic() + self.weather.seconds
        while time.monotonic() < end:
            self._wait(chance.uniform(0.3, 2.5))
            kind = chance.choices(list(kinds), list(kinds.values()))[0]
            done = FAULTS[kind][1](self.place, chance)
            if done:
                self.weather.faults[kind] += 1
            self._wait(chance.uniform(0.0, 1.0))
            self.place.mend()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.05)

    # -- people

    def _live(self, number: int) -> None:
        chance = random.Random(f"{self.weather.seed}/caller {number}")
        person = Person(self, self._browser if number == 0 else None)
        while not self._over.is_set():
            asked = self.acks.add(_wish(self.place, chance))
            if self._ask_for(person, asked, twice=chance.random() < 0.1):
                self._follow(person, asked, chance)

    def _ask_for(self, person: Person, asked: Asked, *, twice: bool) -> bool:
        if twice:
            self._doubled.append(asked)
            other = threading.Thread(target=self._insist, args=(partial(person.submit, asked),), daemon=True)
            other.start()
        return self._insist(partial(person.submit, asked))

    def _follow(self, person: Person, asked: Asked, chance: random.Random) -> None:
        if chance.random() < 0.2:  # the answer might have been lost: ask again
            self._insist(partial(person.submit, asked))
        if chance.random() < 0.2 and self.place.tells_of_stops:
            time.sleep(chance.uniform(0, 1.5))
            self._insist(partial(person.cancel, asked))
        if chance.random() < 0.6:
            self._insist(partial(self._watch, asked))

    def _insist(self, ask: Callable[[Client], object]) -> bool:
        """Ask until it is answered, over a new connection each time; False when the time is over."""
        while not self._gone.is_set():
            try:
                with self.place.client() as client:
                    ask(client)
                    return True
            except (OMServerError, OSError, EOFError):
                time.sleep(0.2)
        return False

    def _submit(self, asked: Asked, client: Client) -> None:
        answer = client.submit(
            asked.module, asked.params, list(asked.hosts), key=asked.token, confirm=len(asked.hosts)
        )
        self.acks.submitted(asked, answer)

    def _cancel(self, asked: Asked, client: Client) -> None:
        assert asked.job is not None
        client.cancel(asked.job)
        self.acks.told_to_cancel(asked)

    def _watch(self, asked: Asked, client: Client) -> None:
        assert asked.job is not None
        since = 0
        while not self._gone.is_set() and not asked.seen_end:
            news = client.events(asked.job, since, wait=2)
            since = news["event"]
            self.acks.saw(asked, news, FINAL_HOST)


class Person:
    """Somebody who asks: at the console, or with the client."""

    def __init__(self, storm: Storm, browser: Browser | None) -> None:
        self._storm, self._browser = storm, browser

    def submit(self, asked: Asked, client: Client) -> None:
        """Ask for it once."""
        if self._browser is None:
            self._storm._submit(asked, client)
        else:
            self._storm.acks.submitted(asked, {"job": {"id": self._browser.submit(asked)}})

    def cancel(self, asked: Asked, client: Client) -> None:
        """Ask once to cancel it."""
        if self._browser is None:
            self._storm._cancel(asked, client)
        else:
            self._browser.cancel(asked.job or 0)
            self._storm.acks.told_to_cancel(asked)


def _wish(place: Place, chance: random.Random) -> Asked:
    there = [*place.obedient, *place.slow, *place.odd]
    hosts = chance.sample(there, chance.randint(1, min(6, len(there))))
    token = f"tok-{chance.getrandbits(64):016x}"
    steps = 2 if chance.random() < 0.4 else 1
    if set(hosts) & set(place.odd):
        steps = 1  # their odd answers are those of one step
    seconds = round(chance.choice((0.0, 0.1, 0.5, 2.0)), 1)
    return Asked(token, chance.choice(list(MODULES)), steps, tuple(hosts), seconds)


Fault = Callable[[Place, random.Random], bool]


def _kill_worker(place: Place, chance: random.Random) -> bool:
    return _to_one(place.workers(), chance, lambda process: process.kill())


def _end_worker(place: Place, chance: random.Random) -> bool:
    return _to_one(place.workers(), chance, lambda process: process.terminate())


def _stop_worker(place: Place, chance: random.Random) -> bool:
    seconds = chance.uniform(0.5, 50 * place.pace)
    return _to_one(place.workers(), chance, lambda process: place.suspend(process, seconds))


def _kill_child(place: Place, chance: random.Random) -> bool:
    return _to_one(place.children(), chance, lambda process: process.kill())


def _stop_master(place: Place, chance: random.Random) -> bool:
    seconds = chance.uniform(0.5, 3.0)
    if place.is_up():
        place.suspend(psutil.Process(place.system.pid), seconds)
    return place.is_up()


def _kill_master(place: Place, chance: random.Random) -> bool:
    place.kill_master()
    return True


def _kill_all(place: Place, chance: random.Random) -> bool:
    place.kill_all()
    return True


def _kill_database(place: Place, chance: random.Random) -> bool:
    place.server.kill()
    time.sleep(chance.uniform(0, 1.5))
    return True


def _end_master(place: Place, chance: random.Random) -> bool:
    place.end_master()
    return True


def _stop_database(place: Place, chance: random.Random) -> bool:
    seconds, there = chance.uniform(0.5, 5.0), place.server.processes()
    for process in there:
        place.suspend(process, seconds)
    return bool(there)


def _end_database(place: Place, chance: random.Random) -> bool:
    place.server.stop()
    return True


def _io_errors(place: Place, chance: random.Random) -> bool:
    return ioerrors.make(place.writers(), chance.uniform(0.3, 2.0))


def _hurt_redis(place: Place, chance: random.Random) -> bool:
    return isinstance(place, CeleryPlace) and place.hurt_redis(chance)


def _stop_redis(place: Place, chance: random.Random) -> bool:
    assert isinstance(place, CeleryPlace)
    place.freeze_redis(chance.uniform(0.5, 5.0))
    return True


def _hurt_celery(place: Place, chance: random.Random) -> bool:
    assert isinstance(place, CeleryPlace)
    place.kill_celery(chance.choice((signal.SIGKILL, signal.SIGTERM)))
    return True


def _kill_salt_master(place: Place, chance: random.Random) -> bool:
    return isinstance(place, SaltPlace) and place.kill_salt_master()


def _stop_salt_master(place: Place, chance: random.Random) -> bool:
    return isinstance(place, SaltPlace) and place.stop_salt_master(chance.uniform(1.0, 8.0))


def _cut_fleet(place: Place, chance: random.Random) -> bool:
    there = place.cut()
    time.sleep(chance.uniform(0, 2.5))
    place.join()
    return there


def _spoil(link: str, state: str) -> Fault:
    """Let a link be so for a while."""

    def spoil(place: Place, chance: random.Random) -> bool:
        there = place.set_link(link, state)
        if there:
            time.sleep(chance.uniform(0.2, 3.0))
            place.set_link(link, "open")
        return there

    return spoil


def _kill_console(place: Place, chance: random.Random) -> bool:
    return place.kill_console()


def _fill_disk(place: Place, chance: random.Random) -> bool:
    if place.disk is not None:
        place.disk.fill()
        time.sleep(chance.uniform(0.5, 3.0))
        place.disk.empty()
    return place.disk is not None


def _wrong_clock(place: Place, chance: random.Random) -> bool:
    whose = chance.choice(CLOCK_OWNERS)
    place.set_clock(whose, round(chance.uniform(-MOST_WRONG, MOST_WRONG), 1))
    time.sleep(chance.uniform(0.5, 3.0))
    place.set_clock(whose, 0.0)
    return True


def _at_a_failpoint(place: Place, chance: random.Random) -> bool:
    action = chance.choice(("kill", "kill", "kill", "error", "sleep:0.3"))
    place.arm(chance.choice(list(PLACES)), action)
    return True


def _to_one(
    processes: list[psutil.Process], chance: random.Random, do: Callable[[psutil.Process], Any]
) -> bool:
    if not processes:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        do(chance.choice(sorted(processes, key=lambda process: process.pid)))
        return True
    return False


#: Weight and deed of each kind.
FAULTS: Mapping[str, tuple[float, Fault]] = {
    "worker killed": (4, _kill_worker),
    "worker told to stop": (1, _end_worker),
    "worker asleep": (2, _stop_worker),
    "module child killed": (2, _kill_child),
    "master asleep": (1, _stop_master),
    "master killed": (2, _kill_master),
    "master told to stop": (1, _end_master),
    "master and workers killed": (1, _kill_all),
    "database killed": (3, _kill_database),
    "database told to stop": (1, _end_database),
    "database asleep": (1, _stop_database),
    "Redis killed or flushed": (4, _hurt_redis),
    "Redis asleep": (2, _stop_redis),
    "Celery worker killed or told to stop": (2, _hurt_celery),
    "salt-master killed": (3, _kill_salt_master),
    "salt-master asleep": (2, _stop_salt_master),
    "hosts cut off": (1, _cut_fleet),
    "failpoint armed": (4, _at_a_failpoint),
    "console killed": (2, _kill_console),
    "callers reset": (1, _spoil("callers", "cut")),
    "callers slow": (1, _spoil("callers", "slow")),
    "callers hear nothing": (1, _spoil("callers", "silent")),
    "answers to callers lost": (1, _spoil("callers", "deaf")),
    "database reset": (1, _spoil("database", "cut")),
    "database slow": (1, _spoil("database", "slow")),
    "database hears nothing": (1, _spoil("database", "silent")),
    "answers of the database lost": (2, _spoil("database", "deaf")),
    "disk full": (3, _fill_disk),
    "I/O errors": (2, _io_errors),
    "clock wrong": (2, _wrong_clock),
}


def _can_be(kind: str, place: Place) -> bool:
    """Whether there is something at *place* to which that can happen."""
    needs = {
        "database": place.server.can_die,
        "Redis": isinstance(place, CeleryPlace),
        "Celery": isinstance(place, CeleryPlace),
        "salt-master": isinstance(place, SaltPlace),
        "disk": place.disk is not None,
        "I/O": ioerrors.can_be_made(),
    }
    return needs.get(kind.partition(" ")[0], True)
