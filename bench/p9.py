"""P9: memory of a whole OMServer at rest, and what it gains while results come in for a long time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.system import CHECKOUT, System, wait_for_end

from .pairs import Compared
from .saltrows import MODULE
from .simsite import Load, SimSite, held, sim_site

MIB = 2**20
#: Half of what P6 wants: results in a second, as one job with so many hosts each second.
RATE = 1000
OUTPUT = 200
#: Seconds between two looks; of a run the first fifth is for caches to fill.
LOOK = 2.0
WARM = 0.2


@dataclass(frozen=True)
class Look:
    """What all processes had together at a moment: bytes (PSS), open files, threads.

    ``memory`` is without the module processes, whose number follows the load; they have ``module_memory``.
    """

    at: float
    memory: int
    module_memory: int
    modules: int
    files: int
    threads: int

    @property
    def each_module(self) -> float:
        """The bytes of one module process."""
        return self.module_memory / max(1, self.modules)


def measure(pairs: int, only: str, load: Load) -> list[Compared]:
    """All figures of this row; *pairs* and *only* are for the rows with two sides."""
    with sim_site(load, load.size or RATE, size=OUTPUT) as site, _web(site.system) as web:
        _touch(site, web)
        roots = [psutil.Process(site.system.pid), psutil.Process(web.pid)]
        rest = _at_rest(roots)
        looks, stored = _work(site, roots, load.seconds)
    on, hours = f"on {load.database}", load.seconds / 3600
    warm = [look for look in looks if look.at >= looks[0].at + WARM * load.seconds]
    gained = {
        "web, master and workers": _slope([(look.at, look.memory) for look in warm]),
        "the mean module process": _slope([(look.at, look.each_module) for look in warm]),
    }
    during = f"over {hours * 60:.0f} min at {stored / load.seconds:.0f} results/s, {on}"
    return [
        held(f"web, master and 2 workers at rest, {on}", rest / MIB, 300, unit="MiB"),
        *(
            held(f"memory gained in an hour by {who}, {during}", slope * 3600 / MIB, 1.0, unit="MiB")
            for who, slope in gained.items()
        ),
        held(f"open files gained, {during}", _gained([look.files for look in warm]), 1, unit="files"),
        held(f"threads gained, {during}", _gained([look.threads for look in warm]), 1, unit="threads"),
    ]


@contextmanager
def _web(system: System) -> Iterator[subprocess.Popen[bytes]]:
    """The console beside the master, as people start it."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "omserver_master", "web"],
        env=system.environment | {"OMSERVER_WEB_PORT": str(port)},
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not _shown(f"http://127.0.0.1:{port}/login"):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait(15)


def _shown(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as page:
            return bool(page.read())
    except OSError:
        return False


def _touch(site: SimSite, web: subprocess.Popen[bytes]) -> None:
    """Let every part do something once, so that it has loaded what it needs."""
    with closing(site.system.client()) as client:
        for host in list(site.hosts)[:4]:
            wait_for_end(client, client.submit(MODULE, None, [host])["job"]["id"])
    assert web.poll() is None


def _at_rest(roots: Sequence[psutil.Process]) -> float:
    """The middle of some looks, when what was started for the first jobs is there again."""
    time.sleep(3)
    taken = []
    for _ in range(5):
        look = _look(roots)
        taken.append(look.memory + look.module_memory)
        time.sleep(0.5)
    return float(sorted(taken)[len(taken) // 2])


def _work(site: SimSite, roots: Sequence[psutil.Process], seconds: float) -> tuple[list[Look], int]:
    """Looks taken while jobs come at a steady pace and somebody watches each; how many results were seen."""
    looks, seen, over = [], [0], threading.Event()

    def keep_busy(turn: int) -> None:
        with closing(site.system.client()) as client:
            client.timeout = 120.0
            began, number = time.monotonic(), turn
            while not over.wait(max(0.0, began + number - time.monotonic())):
                job = client.submit(MODULE, None, site.hosts)["job"]["id"]
                seen[0] += sum(row["state"] == "ok" for row in client.watch(job))
                number += 3

    callers = [threading.Thread(target=keep_busy, args=(turn,), daemon=True) for turn in range(3)]
    for caller in callers:
        caller.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(LOOK, max(0.0, end - time.monotonic())))
        looks.append(_look(roots))
    stored = seen[0]
    over.set()
    for caller in callers:
        caller.join()
    return looks, stored


def _look(roots: Sequence[psutil.Process]) -> Look:
    memory = module_memory = modules = files = threads = 0
    for process in [one for root in roots for one in (root, *root.children(recursive=True))]:
        try:
            is_module = any("registry.child" in word for word in process.cmdline())
            size = _pss(process.pid)
            modules, module_memory = modules + is_module, module_memory + size * is_module
            memory += size * (not is_module)
            files += process.num_fds()
            threads += process.num_threads()
        except (OSError, psutil.Error):
            continue  # it has just ended: a module's process
    return Look(time.monotonic(), memory, module_memory, modules, files, threads)


def _pss(pid: int) -> int:
    """The bytes of a process, those it shares with others divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Bytes in a second, by least squares through *points* of a moment and bytes."""
    if len(points) < 2:
        return 0.0
    middle = sum(at for at, _ in points) / len(points)
    level = sum(size for _, size in points) / len(points)
    over = sum((at - middle) * (size - level) for at, size in points)
    return over / sum((at - middle) ** 2 for at, _ in points)


def _gained(numbers: Sequence[int]) -> float:
    """How much the middle of the last third is above that of the first."""
    third = max(1, len(numbers) // 3)
    first, last = sorted(numbers[:third]), sorted(numbers[-third:])
    return float(max(0, last[len(last) // 2] - first[len(first) // 2]))
