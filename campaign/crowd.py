"""A crowd of invented hosts, part of which is slow, silent, flapping or odd: is every host final in time?

    python -m campaign.crowd --runs 20 --database mariadb

A run is one job on all of them. Each host must have its end, and one that fits what it does, within
`GRACE` seconds after its time limit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bench.machine import machine
from bench.saltrows import MODULE
from bench.simsite import DATABASES, Load, SimSite, sim_site
from omserver_master.store.engine import read
from omserver_master.store.schema import host_results
from tests.ending import end_on_sigterm
from tests.system import wait_for_end

#: Seconds after a host's time limit by which its row is final.
GRACE = 5.0


@dataclass(frozen=True)
class Kind:
    """Hosts of one kind: which share of all, what they do, which ends fit that."""

    share: float
    rule: dict[str, object]
    ends: frozenset[str]


def kinds(limit: float) -> dict[str, Kind]:
    """All kinds by the beginning of their names, where a host has *limit* seconds; the rest is well."""
    ok = frozenset({"ok"})
    flapping = {"ending": "flaps", "every": 0.5, "seconds": 0.3}
    return {
        "slow": Kind(0.10, {"seconds": 0.8 * limit}, ok),
        "silent": Kind(0.05, {"ending": "silent"}, frozenset({"timed_out"})),
        "flapping": Kind(0.01, flapping, frozenset({"ok", "timed_out", "unreachable"})),
        "twice": Kind(0.005, {"ending": "twice"}, ok),
        "rubbish": Kind(0.005, {"ending": "rubbish"}, frozenset({"unknown"})),
    }


@dataclass(frozen=True)
class Run:
    """One job: how long after its time limit the last host was final (seconds), and what went wrong."""

    latest: float
    wrong: Sequence[str]
    ends: dict[str, dict[str, int]]

    @property
    def good(self) -> bool:
        """Whether every host was final in time, and as it should be."""
        return not self.wrong and self.latest <= GRACE


def names(number: int, limit: float) -> list[str]:
    """The names of *number* hosts in their shares, mixed."""
    left, made = number, []
    for begin, kind in kinds(limit).items():
        some = max(1, round(number * kind.share))
        made += [f"{begin}-{place:05}" for place in range(some)]
        left -= some
    made += [f"well-{place:05}" for place in range(left)]
    return sorted(made, key=lambda name: name[::-1])


def rules(limit: float) -> dict[str, dict[str, object]]:
    """What the hosts do, as ``backends/sim/fleet.py`` wants to be told."""
    return {f"{begin}-*": kind.rule for begin, kind in kinds(limit).items()}


def run(site: SimSite, limit: int) -> Run:
    """One job on all hosts of *site*, with a time limit of *limit* seconds for each."""
    with closing(site.system.client(timeout=120.0)) as client:
        job = client.submit(MODULE, None, list(site.hosts), timeout=limit)["job"]["id"]
        wait_for_end(client, job, limit + 120)
    with read(site.system.engine) as conn:
        query = select(host_results).where(host_results.c.job_id == job)
        return judge([dict(row) for row in conn.execute(query).mappings()], len(site.hosts), limit)


def judge(rows: Sequence[Mapping[str, Any]], number: int, limit: int) -> Run:
    """What the rows of a job on *number* hosts say."""
    fitting = {begin: kind.ends for begin, kind in kinds(limit).items()} | {"well": frozenset({"ok"})}
    wrong = [] if len(rows) == number else [f"{len(rows)} rows for {number} hosts"]
    ends: dict[str, Counter[str]] = {}
    latest = 0.0
    for row in rows:
        begin = row["host"].partition("-")[0]
        ends.setdefault(begin, Counter())[row["state"]] += 1
        if row["state"] not in fitting[begin]:
            wrong.append(f"{row['host']}: {row['state']} {row['reason']}")
        elif row["started"] is not None:
            latest = max(latest, row["finished"] - row["started"] - limit)
    return Run(latest, wrong, {begin: dict(counted) for begin, counted in sorted(ends.items())})


def main() -> int:
    """0 when every host of every run was final in time; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m campaign.crowd", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="jobs, one after another (20)")
    parser.add_argument("--hosts", type=int, default=10_000, help="hosts of each (10000)")
    parser.add_argument("--limit", type=int, default=10, help="seconds that a host has (10)")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args()
    end_on_sigterm()
    found = []
    with sim_site(
        Load(options.database),
        options.hosts,
        rules=rules(options.limit),
        names=names(options.hosts, options.limit),
    ) as site:
        for number in range(options.runs):
            found.append(run(site, options.limit))
            said = "good" if found[-1].good else "BAD"
            print(
                f"{number + 1}: {said}, the last was final {found[-1].latest:.2f} s after its time limit",
                flush=True,
            )
            print(*found[-1].wrong[:10], sep="\n", end="\n" if found[-1].wrong else "", flush=True)
    told = {"database": options.database, "hosts": options.hosts, "limit": options.limit}
    told |= {"runs": [vars(one) for one in found], "machine": machine()}
    if options.json:
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    bad = sum(not one.good for one in found)
    latest = max((one.latest for one in found), default=0.0)
    print(json.dumps({"runs": len(found), "bad": bad, "latest": round(latest, 2), "ends": found[-1].ends}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
