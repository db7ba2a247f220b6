"""``python -m campaign``, ``python -m campaign kills``, ``... sweep``, ``... controls``."""

from __future__ import annotations

import argparse
import json
import os
import queue
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.machine import machine
from tests.ending import end_on_sigterm

from . import cancels, controls, evidence, kills, sweep, takeovers
from .celeryplace import CeleryPlace
from .defects import DEFECTS
from .place import Place
from .progress import Progress, table
from .saltplace import SaltPlace
from .servers import DATABASES, DISK_SIZES
from .storm import Storm

#: What takes other options; ``--help`` tells them.
WITH_THEIR_OWN_OPTIONS = {"cancels": cancels.main, "takeovers": takeovers.main}
#: Seconds of one storm; a campaign is a row of them, each over a new place.
STORM = 120.0
#: The pace unless told otherwise: claims of 6 s instead of 30 s.
PACE = 0.2


def main() -> int:
    """0 when no promise was broken, or every defect noticed; 1 otherwise."""
    end_on_sigterm()
    if sys.argv[1:2] and sys.argv[1] in WITH_THEIR_OWN_OPTIONS:
        return WITH_THEIR_OWN_OPTIONS[sys.argv[1]](sys.argv[2:])
    options = _options()
    progress = Progress(options.state)
    before = set(progress.pieces)
    doing = {"storm": _storms, "kills": _kills, "sweep": _sweep, "controls": _controls}
    doing[options.what](options, progress)
    prefix = options.what
    pieces = {name: piece for name, piece in progress.pieces.items() if name.split("/")[0] == prefix}
    print(table(pieces))
    if options.what == "kills":
        print(kills.table(_deaths(progress)))
        print(kills.recoveries(_times_back(progress)))
    done = {name: piece for name, piece in pieces.items() if name not in before or not piece["good"]}
    told = {"what": prefix, "pace": options.pace, "machine": machine(), "pieces": pieces}
    if options.json:
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    print(json.dumps({"what": prefix, "all": len(pieces), "now": len(done), "bad": _bad(pieces)}))
    return 1 if _bad(pieces) or not pieces else 0


def _bad(pieces: dict[str, dict[str, object]]) -> int:
    return sum(not piece["good"] for piece in pieces.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m campaign", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("storm", "kills", "sweep", "controls"), default="storm")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long faults are made (10)")
    parser.add_argument("--storm", type=float, default=STORM, help="seconds of one storm (120)")
    parser.add_argument("--seed", type=int, help="of everything that is random; printed if not given")
    parser.add_argument("--database", action="append", choices=DATABASES, help="all three if none is named")
    parser.add_argument("--state", type=Path, help="file that keeps what is done; a repeat goes on there")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--keep", type=Path, help="folder for the evidence of what went wrong")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of kills on each database (12)")
    parser.add_argument("--times", type=int, default=1, help="deaths of each kind in each phase of a round")
    parser.add_argument("--kind", action="append", choices=kills.KINDS, help="what is killed; all if unnamed")
    parser.add_argument("--only", default="", help="only cells or defects with this in their name")
    parser.add_argument("--places", type=int, default=2, help="how many OMServers a sweep uses at once (2)")
    parser.add_argument("--budget", type=float, help="minutes after which nothing more is begun")
    parser.add_argument(
        "--pace",
        type=float,
        default=PACE,
        help="claims, heartbeats and pauses times this (0.2); 1: as they are",
    )
    options = parser.parse_args()
    options.end = time.monotonic() + 60 * (options.budget or float("inf"))
    options.database = options.database or (list(DATABASES) if options.what != "controls" else ["sqlite"])
    return options


def _late(options: argparse.Namespace) -> bool:
    return time.monotonic() > float(options.end)


def _storms(options: argparse.Namespace, progress: Progress) -> None:
    seed = options.seed if options.seed is not None else _seed(options, progress)
    left, number = options.minutes * 60.0, 0
    print(f"seed {seed}", flush=True)
    while left > 0 and not _late(options):
        database = options.database[number % len(options.database)]
        seconds = min(left, options.storm)
        left, number = left - seconds, number + 1
        name = f"storm/{database}/{seed}/{'+'.join([*(options.kind or ()), str(number)])}"
        if not progress.has(name):
            _storm(options, progress, name, database, seed * 1000 + number, seconds)


def _seed(options: argparse.Namespace, progress: Progress) -> int:
    """The seed of a campaign that is not done yet, else a new one."""
    seeds = [int(name.split("/")[2]) for name in progress.pieces if name.startswith("storm/")]
    if seeds:
        done = sum(float(progress.pieces[name]["seconds"]) for name in progress.good(f"/{seeds[-1]}/"))
        if done < options.minutes * 60.0:
            return seeds[-1]
    return secrets.randbelow(1_000_000)


def _storm(
    options: argparse.Namespace, progress: Progress, name: str, database: str, seed: int, seconds: float
) -> None:
    disk = os.geteuid() == 0 and database in DISK_SIZES
    kind_of_place = _kind_of_place(options.kind or [])
    with kind_of_place(database, pace=options.pace, web=True, links=True, disk=disk) as place:
        storm = Storm(place, seed, seconds)
        weather = storm.rage()
        found = weather.verdict
        if found.violations and options.keep:
            evidence.keep(place, storm.acks.all(), options.keep / name.replace("/", "-"))
    good = not found.violations
    more = {"faults": dict(weather.faults), "recovery": round(weather.recovery, 1), "seconds": seconds}
    progress.add(name, good=good, verdict=found, **more)
    print(f"{name}: {'good' if good else sorted(found.kinds)}; {dict(weather.faults)}", flush=True)


def _kills(options: argparse.Namespace, progress: Progress) -> None:
    """Rounds of one death of each kind in each phase, so many on each database."""
    kinds = options.kind or list(kills.KINDS)
    rounds: queue.SimpleQueue[tuple[str, str, int]] = queue.SimpleQueue()
    for number in range(1, options.rounds + 1):
        for database in options.database:
            name = f"kills/{database}/{'+'.join(options.kind or ['all'])}/{number}"
            if not progress.has(name):
                rounds.put((name, database, number))
    _side_by_side(options.places, partial(_play_rounds, options, progress, kinds, rounds))


def _play_rounds(
    options: argparse.Namespace,
    progress: Progress,
    kinds: list[str],
    rounds: queue.SimpleQueue[tuple[str, str, int]],
    lock: threading.Lock,
) -> None:
    while not _late(options):
        try:
            name, database, number = rounds.get_nowait()
        except queue.Empty:
            return
        seed = options.seed * 1000 + number if options.seed is not None else secrets.randbelow(1_000_000)
        with _kind_of_place(kinds)(database, pace=options.pace, web="web" in kinds) as place:
            played = kills.Round(place, seed)
            deaths = played.play(kills.cells(place, kinds) * options.times)
            if deaths.verdict.violations and options.keep:
                evidence.keep(place, played.acks.all(), options.keep / f"{name.replace('/', '-')}-{seed}")
        good, missed = not deaths.verdict.violations, dict(deaths.missed)
        more = {"seed": seed, "faults": dict(deaths.by_cell), "missed": missed, "back": deaths.back}
        with lock:
            progress.add(name, good=good, verdict=deaths.verdict, recovery=round(deaths.recovery, 1), **more)
            print(f"{time.strftime('%H:%M:%S')} {name}: {deaths.by_cell.total()} deaths, missed {missed},")
            print(f"    {'good' if good else 'BAD'}", *deaths.verdict.violations, flush=True)


def _kind_of_place(kinds: list[str]) -> type[Place]:
    """Where such processes are: a Salt master, or a Redis, is there only if nothing else is to die."""
    if kinds == ["salt-master"]:
        return SaltPlace
    return CeleryPlace if kinds == ["redis"] else Place


def _deaths(progress: Progress) -> Counter[str]:
    """All deaths of good rounds so far, by kind and phase."""
    found: Counter[str] = Counter()
    for name in progress.good("kills/"):
        found.update(progress.pieces[name]["faults"])
    return found


def _times_back(progress: Progress) -> list[float]:
    rounds = [progress.pieces[name] for name in progress.good("kills/")]
    return [second for played in rounds for cell in played.get("back", {}).values() for second in cell]


def _side_by_side(number: int, work: Callable[[threading.Lock], None]) -> None:
    lock = threading.Lock()
    players = [threading.Thread(target=work, args=(lock,)) for _ in range(number)]
    for player in players:
        player.start()
    for player in players:
        player.join()


def _sweep(options: argparse.Namespace, progress: Progress) -> None:
    for database in options.database:
        wanted: queue.SimpleQueue[sweep.Cell] = queue.SimpleQueue()
        for cell in sweep.cells():
            if options.only in cell.name and not progress.has(f"sweep/{database}/{cell.name}"):
                wanted.put(cell)
        number = min(options.places, wanted.qsize())
        _side_by_side(number, partial(_play, options, progress, database, wanted))


def _play(
    options: argparse.Namespace,
    progress: Progress,
    database: str,
    wanted: queue.SimpleQueue[sweep.Cell],
    lock: threading.Lock,
) -> None:
    with Place(database, pace=options.pace) as place:
        while not _late(options):
            try:
                cell = wanted.get_nowait()
            except queue.Empty:
                return
            name = f"sweep/{database}/{cell.name}"
            outcome = sweep.play(place, cell, keep=options.keep and options.keep / name.replace("/", "-"))
            why = "" if outcome.reached else "its failpoint was not reached"
            with lock:
                progress.add(
                    name,
                    good=outcome.good,
                    verdict=outcome.verdict,
                    why=why,
                    faults={cell.action: 1},
                    recovery=round(outcome.recovery, 1),
                )
                print(
                    f"{time.strftime('%H:%M:%S')} {name}: {'good' if outcome.good else 'BAD ' + why}",
                    *outcome.verdict.violations,
                    flush=True,
                )


def _controls(options: argparse.Namespace, progress: Progress) -> None:
    names: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in DEFECTS:
        if options.only in name and not progress.has(f"controls/{name}"):
            names.put(name)
    _side_by_side(min(options.places, names.qsize()), partial(_try_defects, options, progress, names))


def _try_defects(
    options: argparse.Namespace, progress: Progress, names: queue.SimpleQueue[str], lock: threading.Lock
) -> None:
    while not _late(options):
        try:
            name = names.get_nowait()
        except queue.Empty:
            return
        control = next(controls.run([name], pace=options.pace, database=options.database[0]))
        noticed = sorted(control.kinds)
        why = "" if control.noticed else "not noticed for what it is"
        piece = {"good": control.noticed, "says": control.says, "noticed as": noticed, "why": why}
        with lock:
            progress.note(f"controls/{name}", piece)
            print(f"{name}: {', '.join(noticed)}{'' if control.noticed else ' NOT NOTICED'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
