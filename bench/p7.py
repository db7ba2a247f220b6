"""P7: one job on very many invented hosts, 1 KiB each, from the call to the last result."""

from __future__ import annotations

import time
from contextlib import closing

from .pairs import Compared
from .saltrows import MODULE
from .simsite import Load, held, sim_site

HOSTS = 10_000
OUTPUT = 1024


def measure(pairs: int, only: str, load: Load) -> list[Compared]:
    """All figures of this row; *pairs* and *only* are for the rows with two sides."""
    number = load.size or HOSTS
    with sim_site(load, number, size=OUTPUT) as site, closing(site.system.client()) as client:
        client.timeout = 600.0
        began = time.perf_counter()
        job = client.submit(MODULE, None, site.hosts, timeout=3600)["job"]["id"]
        created = time.perf_counter() - began
        answered = [float(row["first_line"]) for row in client.watch(job) if row["state"] == "ok"]
        whole = time.perf_counter() - began
        found = client.job(job)
        assert found["counts"] == {"ok": number}, found
    scale = max(1.0, number / HOSTS)
    on = f"{number} hosts, on {load.database}"
    return [
        held(f"created: {on}", created, 2.0 * scale),
        held(f"all rows stored after the last answer: {on}", found["finished"] - max(answered), 15.0 * scale),
        held(f"from the call until somebody who watches has seen all: {on}", whole, 60.0 * scale),
    ]
