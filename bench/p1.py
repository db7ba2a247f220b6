"""P1: one job on one real Salt minion, from the client's call to its durable result back.

Ours is a module that runs ``true``: a sealed request, a job row, a host row, the module in a process of
its own, and a shell on the host; theirs is ``test.ping``, which starts nothing on the host.
"""

from __future__ import annotations

from contextlib import closing

from .pairs import Compared, Work, compare, timed
from .saltrows import API, PLAIN, SALT, salt_rig

#: What is left when all of OMServer but the shell on the host takes no time.
FLOOR = "the floor: our shell with its proof, started by "


def measure(pairs: int, only: str = "") -> list[Compared]:
    """All comparisons of this row whose name has *only* in it."""
    found: list[Compared] = []
    with salt_rig(1) as rig, closing(rig.system.client()) as client:
        minion = rig.minions[0]
        ours = {way: timed(rig.runner(client, way, minion)) for way in (SALT, API, PLAIN)}
        same = {"arg": ["true"], "kwarg": {"python_shell": False}}
        theirs: list[tuple[str, str, str, Work, float | None]] = [
            ("one job, against the command line", SALT, "salt CLI", timed(rig.cli(minion)), 0.25),
            ("one job, against the library", SALT, "LocalClient.cmd", timed(rig.local(minion)), 1.0),
            ("one job, no signatures of the host", PLAIN, "LocalClient.cmd", timed(rig.local(minion)), None),
            (
                "one job, against the library starting the same command",
                SALT,
                "LocalClient.cmd cmd.run_all",
                timed(rig.local(minion, "cmd.run_all", **same)),
                None,
            ),
            ("one job through salt-api", API, "salt-api by itself", timed(rig.bare_api(minion)), 1.1),
        ]
        for name, shell, bare in (
            ("LocalClient.cmd", rig.local_shell(minion), rig.local(minion)),
            ("salt-api", rig.api_shell(minion), rig.bare_api(minion)),
        ):
            if only in FLOOR + name:
                floor = (f"{name}, our shell", timed(shell)), (name, timed(bare))
                found.append(compare(FLOOR + name, *floor, pairs=pairs))
        for name, way, their_name, work, target in theirs:
            if only in name:
                sides = (("OMServer", ours[way]), (their_name, work))
                found.append(compare(name, *sides, pairs=pairs, target=target))
    return found
