"""Invented hosts that write down what they were really told: the witness of the campaign.

    python -m campaign.fleet SOCKET RULES LEDGER

One line of JSON for each thing that happens to a host: ``did`` is ``took`` (it begins), ``answered`` or
``told to stop``; ``at`` is in unix seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from omserver_master.backends.sim.fleet import Key, SimFleet


class WitnessFleet(SimFleet):
    """A fleet with a ledger of its own."""

    def __init__(self, rules: dict[str, Any], ledger: Path) -> None:
        super().__init__(rules, None, Path(f"{ledger}.files"))
        self._ledger = ledger.open("a", buffering=1, encoding="utf-8")

    def take(self, key: Key, order: dict[str, Any]) -> None:
        if self.ending(key) != "down":
            work = order["work"]
            digest = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()
            self._note("took", key, work=digest, command=str(work.get("shell") or work.get("argv")))
        super().take(key, order)

    async def publish(self, key: Key, answers: list[dict[str, Any]]) -> None:
        first = next(answer["answer"] for answer in answers if answer["host"] == key[1])
        self._note("answered", key, state=first["state"], rc=first["rc"], stdout=first["stdout"])
        await super().publish(key, answers)

    def cancel(self, key: Key) -> str:
        proof = super().cancel(key)
        self._note("told to stop", key, proof=proof)
        return proof

    def _note(self, did: str, key: Key, **more: Any) -> None:
        line = {"at": time.time(), "did": did, "handle": key[0], "host": key[1], **more}
        self._ledger.write(json.dumps(line) + "\n")


async def _main(path: str, rules: str, ledger: str) -> None:
    fleet = WitnessFleet(json.loads(rules), Path(ledger))
    server = await asyncio.start_unix_server(fleet.serve, path, limit=16 * 1024 * 1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
