"""The process of the invented hosts.

    python -m omserver_master.backends.sim.fleet SOCKET RULES [LEDGER [FILES]]

RULES is JSON, {"pattern of host names": {...}, ...}; the first that fits counts, a host that none fits is
well. A rule may set: "seconds" until the answer (0.01), "rc" (0), "stdout" (the host's name), "bytes" (so
much instead: the time of the answer in a line, then what no other host says), "stderr" and "ending":

    answers   (where nothing else is said)
    silent    takes the work and never answers
    down      does not even take it
    twice     answers, and once more with another return code
    stranger  answers, and before that as a host that nobody asked
    rubbish   answers what nobody understands
    flaps     is there for "every" seconds (0.5) and gone as long, in turn: takes nothing, or loses its work
    obeys     does what a `Run` says, as far as shell.py goes, and ends it when its time is over

With "off": "refused", it is known at once of a host that is off, as where a connection is refused; else
nothing is heard of it.

LEDGER is a file that gets one line for each piece of work that a host takes: handle, host. It is the evidence
that nothing ran twice. FILES is a folder for the files of the hosts that obey.

Each connection gives one order, a line of JSON: {"do": "run" | "collect" | "cancel", "handle", "hosts", ...};
or {"do": "power", "host", "on"}, which cuts a host off or brings it back; or {"do": "look", "host"}, answered
by the commands that run there.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import secrets
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...contract.work import Answer
from .shell import PretendShell

#: Hosts from which on answers are told in batches.
_MANY = 100

Rule = dict[str, Any]
Key = tuple[str, str]


class SimFleet:
    """The invented hosts, what they were given, and what they answered."""

    def __init__(self, rules: dict[str, Rule], ledger: Path | None, files: Path) -> None:
        self.rules = rules
        self.ledger = ledger
        self.files = files
        self.off: set[str] = set()
        self.commands: dict[Key, str] = {}
        self.running: dict[Key, asyncio.Task[None]] = {}
        self.answers: dict[Key, list[dict[str, Any]]] = {}
        self.changed = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Obey one connection: one order each."""
        line = await reader.readline()
        with suppress(ConnectionError):
            if line:
                await self.obey(json.loads(line), writer)
        writer.close()

    async def obey(self, order: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        """Run, collect, cancel, power or look."""
        if order["do"] == "power":
            self.power(order["host"], order["on"])
            _say(writer, {})
            return
        if order["do"] == "look":
            _say(writer, {"processes": self.processes(order["host"])})
            return
        keys = [(order["handle"], host) for host in order["hosts"]]
        if order["do"] == "cancel":
            _say(writer, {key[1]: self.cancel(key) for key in keys})
            return
        for key in keys:
            if order["do"] == "run":
                self.take(key, order)
            elif key not in self.running and key not in self.answers and self.ending(key) != "down":
                never = Answer("not_started", reason="The invented host never got it.").to_wire()
                _say(writer, {"host": key[1], "answer": never})
        await self.tell(keys, writer)

    def power(self, host: str, on: bool) -> None:
        """Cut a host off, with all that runs there, or bring it back."""
        if on:
            self.off.discard(host)
            return
        self.off.add(host)
        for key, task in self.running.items():
            if key[1] == host:
                task.cancel()

    def processes(self, host: str) -> list[str]:
        """The commands that run on a host."""
        return [
            self.commands[key] for key, task in self.running.items() if key[1] == host and not task.done()
        ]

    def take(self, key: Key, order: dict[str, Any]) -> None:
        """A host takes its work, unless it is down."""
        if self.ending(key) == "down":
            if self.rule(key).get("off") == "refused":
                refused = Answer("unreachable", reason="The invented host is off.").to_wire()
                self.answers[key] = [{"host": key[1], "answer": refused}]
            return
        if self.ledger is not None:
            with self.ledger.open("a") as file:
                file.write(f"{key[0]} {key[1]}\n")
        work = order["work"]
        self.commands[key] = str(work.get("shell") or work.get("argv"))
        if self.ending(key) == "obeys" and work["kind"] == "run":
            self.running[key] = asyncio.ensure_future(self.obey_work(key, work, order["seconds"]))
        else:
            self.running[key] = asyncio.ensure_future(self.work(key))

    async def obey_work(self, key: Key, work: dict[str, Any], limit: float) -> None:
        """A host does what it is told, for *limit* seconds at most."""
        shell, cap = PretendShell(key[1], self.files), work["output"]
        began, rc = asyncio.get_running_loop().time(), None
        with suppress(TimeoutError):
            rc = await asyncio.wait_for(shell.obey(work), limit)
        seconds = round(asyncio.get_running_loop().time() - began, 2)
        ended = Answer(
            "done" if rc is not None else "timed_out",
            rc,
            bytes(shell.out[:cap]),
            bytes(shell.err[:cap]),
            max(0, len(shell.out) - cap),
            max(0, len(shell.err) - cap),
            seconds,
            "" if rc is not None else f"Was stopped on the host after {seconds:g} s.",
        )
        await self.publish(key, [{"host": key[1], "answer": ended.to_wire()}])

    async def work(self, key: Key) -> None:
        """A host works, and answers as its rule says."""
        rule, host = self.rule(key), key[1]
        await asyncio.sleep(rule.get("seconds", 0.01))
        if self.ending(key) in ("silent", "down"):  # down by now: it flaps
            return
        stdout = rule.get("stdout", f"{host}\n").encode()
        if "bytes" in rule:
            stdout = _stamped(rule["bytes"])
        rc = rule.get("rc", 0)
        done = Answer("done", rc, stdout, rule.get("stderr", "").encode(), seconds=rule.get("seconds", 0.01))
        answers: list[dict[str, Any]] = [{"host": host, "answer": done.to_wire()}]
        if self.ending(key) == "twice":
            answers.append({"host": host, "answer": Answer("done", rc + 1).to_wire()})
        if self.ending(key) == "stranger":
            answers.insert(0, {"host": "a stranger", "answer": done.to_wire()})
        if self.ending(key) == "rubbish":
            answers = [{"host": 7, "answer": [host]}, {"host": host, "answer": {"state": "splendid"}}]
        await self.publish(key, answers)

    async def publish(self, key: Key, answers: list[dict[str, Any]]) -> None:
        """A host has answered."""
        async with self.changed:
            self.answers[key] = answers
            self.changed.notify_all()

    def cancel(self, key: Key) -> str:
        """Stop one host's work."""
        task = self.running.get(key)
        if task is None:
            return "not_started"
        if key in self.answers or key[1] in self.off:
            return "unknown"
        task.cancel()
        return "stopped"

    async def tell(self, keys: list[Key], writer: asyncio.StreamWriter) -> None:
        """Tell of what these hosts took and answer, until all did or nobody listens."""
        for key in keys:
            if key in self.running:
                _say(writer, {"host": key[1], "took": True})
        left = dict.fromkeys(keys)
        while left and not writer.is_closing():
            for key in [key for key in left if key in self.answers]:
                del left[key]
                for answer in self.answers[key]:
                    _say(writer, answer)
            await writer.drain()
            async with self.changed:
                if not any(key in self.answers for key in left):
                    await _or_a_second(self.changed)
            if len(left) > _MANY:  # each look costs: let some answers gather
                await asyncio.sleep(0.005)

    def rule(self, key: Key) -> Rule:
        """The rule of a host."""
        fitting = (rule for pattern, rule in self.rules.items() if fnmatch.fnmatch(key[1], pattern))
        return next(fitting, {})

    def ending(self, key: Key) -> str:
        """How a host's work ends."""
        if key[1] in self.off:
            return "down"
        rule = self.rule(key)
        if rule.get("ending") == "flaps" and _is_gone(key[1], rule.get("every", 0.5)):
            return "down"
        return str(rule.get("ending", "answers"))


def _is_gone(host: str, every: float) -> bool:
    """Whether a host that flaps is gone at this moment; each does so at moments of its own."""
    shift = zlib.crc32(host.encode()) / 2**32
    return int(time.monotonic() / every + 2 * shift) % 2 == 1


def _stamped(size: int) -> bytes:
    """The time, and text of our own up to *size* bytes."""
    line = f"{time.time():.6f}\n".encode()
    return line + secrets.token_hex(size // 2 + 1).encode()[: max(0, size - len(line))]


async def _or_a_second(condition: asyncio.Condition) -> None:
    try:
        await asyncio.wait_for(condition.wait(), 1.0)
    except TimeoutError:
        return


def _say(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


async def _main(path: str, rules: str, ledger: str = "", files: str = "") -> None:
    fleet = SimFleet(json.loads(rules), Path(ledger) if ledger else None, Path(files or f"{path}.files"))
    server = await asyncio.start_unix_server(fleet.serve, path, limit=16 * 1024 * 1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
