"""P2: 16 callers at once on 4 real minions: jobs per second, how long the slowest take, and our own CPU.

Each caller is a thread with a client of its own that stays connected, and runs one job after another on its
minion. CPU is what the processes of the caller's side take: ours are the callers, the master, its workers and
their children; LocalClient's are the callers. The Salt master and the minions are the same on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import psutil

from .pairs import Compared, gathered, line
from .saltrows import API, SALT, Rig, salt_rig

CALLERS = 16
MINIONS = 4
#: What is left when all of OMServer but the shell on the host takes no time and no processor.
FLOOR = "the floor: our shell with its proof, started in 16 threads by "
FLOOR_CPU = "the floor: own CPU per job of what reaches Salt for us, with nothing of OMServer around it"
#: Jobs of each caller in one turn.
JOBS = 3


class Turn:
    """What one turn of all callers took: jobs per second, seconds of the 95th of 100, CPU seconds per job."""

    def __init__(self, callers: Sequence[Callable[[], None]], cpu: Callable[[], float]) -> None:
        before, began = cpu(), time.perf_counter()
        with ThreadPoolExecutor(len(callers)) as pool:
            seconds = sorted(one for times in pool.map(_repeated, callers) for one in times)
        self.rate = len(seconds) / (time.perf_counter() - began)
        self.p95 = seconds[int(len(seconds) * 0.95)]
        self.cpu = (cpu() - before) / len(seconds)


def measure(pairs: int, only: str = "") -> list[Compared]:
    """All comparisons of this row whose name has *only* in it."""
    found: list[Compared] = []
    with salt_rig(MINIONS) as rig, ExitStack() as stack:
        minions = [rig.minions[number % MINIONS] for number in range(CALLERS)]
        clients = [stack.enter_context(closing(rig.system.client())) for _ in minions]
        sides = {
            way: [rig.runner(client, way, name) for client, name in zip(clients, minions, strict=True)]
            for way in (SALT, API)
        }
        if only in FLOOR_CPU:
            found.append(_engine_alone(rig, minions, pairs))
        for name, shell, bare in (
            ("LocalClient", rig.local_shell, rig.local),
            ("salt-api", rig.api_shell, rig.bare_api),
        ):
            if only in FLOOR + name:
                found += _rates(name, list(map(shell, minions)), list(map(bare, minions)), pairs)
        for name, way, callers in (
            ("LocalClient", SALT, [rig.local(minion) for minion in minions]),
            ("salt-api", API, [rig.bare_api(minion) for minion in minions]),
        ):
            if only in name:
                found += _compared(name, rig, sides[way], callers, pairs)
    for one in found:
        print(line(one))
    return found


def _rates(
    name: str, ours: Sequence[Callable[[], None]], theirs: Sequence[Callable[[], None]], pairs: int
) -> list[Compared]:
    """Jobs per second of callers that are the same on both sides, but for what they start on the host."""
    turns = [(Turn(ours, time.process_time), Turn(theirs, time.process_time)) for _ in range(pairs + 1)][1:]
    mine, other = zip(*turns, strict=True)
    rates = [turn.rate for turn in mine], [turn.rate for turn in other]
    return [gathered(FLOOR + name, f"{name}, our shell", name, *rates, unit="jobs/s", more=True)]


def _engine_alone(rig: Rig, minions: Sequence[str], pairs: int) -> Compared:
    """CPU per job, both in this process: our engine by itself, and Salt's library."""
    theirs = list(map(rig.local, minions))
    other = [Turn(theirs, time.process_time) for _ in range(pairs + 1)][1:]
    with rig.engine() as runner:
        ours = list(map(runner, minions))
        mine = [Turn(ours, time.process_time) for _ in range(pairs + 1)][1:]
    cpu = [turn.cpu for turn in mine], [turn.cpu for turn in other]
    return gathered(FLOOR_CPU, "our engine", "LocalClient in 16 threads", *cpu, unit="s")


def _compared(
    name: str, rig: Rig, ours: Sequence[Callable[[], None]], theirs: Sequence[Callable[[], None]], pairs: int
) -> list[Compared]:
    mine: list[Turn] = []
    other: list[Turn] = []
    for number in range(pairs + 1):
        order = [(mine, ours, _our_cpu(rig)), (other, theirs, time.process_time)]
        for kept, callers, cpu in order if number % 2 else reversed(order):
            kept.append(Turn(callers, cpu))
    del mine[0], other[0]  # the first is for warming up
    what = f"{CALLERS} callers on {MINIONS} minions"
    rates = [turn.rate for turn in mine], [turn.rate for turn in other]
    slow = [turn.p95 for turn in mine], [turn.p95 for turn in other]
    both = ("OMServer", name if name == "salt-api" else f"{name} in {CALLERS} threads")
    found = [
        gathered(f"{what}: jobs per second", *both, *rates, unit="jobs/s", target=1.1, more=True),
        gathered(f"{what}: 95 of 100 take at most", *both, *slow, unit="s", target=1.0),
    ]
    if name == "LocalClient":
        cpu = [turn.cpu for turn in mine], [turn.cpu for turn in other]
        found.append(gathered(f"{what}: own CPU per job", *both, *cpu, unit="s", target=0.5))
    return found


def _our_cpu(rig: Rig) -> Callable[[], float]:
    master = psutil.Process(rig.system.pid)

    def cpu() -> float:
        return time.process_time() + sum(map(_spent, [master, *master.children(recursive=True)]))

    return cpu


def _spent(process: psutil.Process) -> float:
    """The CPU seconds of a process and of those children that it has buried."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _repeated(work: Callable[[], None]) -> list[float]:
    seconds = []
    for _ in range(JOBS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds
