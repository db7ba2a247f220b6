"""Ends a run on this machine and its work on the hosts, and says of each host what was proved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ..base import Proof, Target
from ..onhost import ANSWER, unpack_stop
from . import stop as stopping
from .folder import JobFolder
from .host import words_of

#: Seconds for asking the hosts, of the 15 that a cancel may take.
ASK_SECONDS = 12.0
#: How an answer was come by that says that nothing was sent.
NEVER_SENT = ("called_off", "refused", "cannot")
#: Starts a run that stops work on hosts; its folder.
StopRun = Callable[[Mapping[str, Target], float], JobFolder]


def cancel(folder: JobFolder, hosts: Mapping[str, Target], stop_on_hosts: StopRun) -> dict[str, Proof]:
    """Stop the run of *folder* on *hosts* (by their names in the inventory); the proof by host id.

    Raises:
        ConnectionDown: the hosts could not be asked.
    """
    folder.call_off(hosts)
    if folder.claim():  # it may not even be written down whole
        return {host.id: "not_started" for host in hosts.values()}
    whole = folder.called_off_whole()
    ended = stopping.stop(folder) if whole and folder.runs else not folder.runs
    try:
        return _prove(folder, hosts, ended, stop_on_hosts)
    finally:
        if whole:
            _note_end(folder)


def _prove(
    folder: JobFolder, hosts: Mapping[str, Target], ended: bool, stop_on_hosts: StopRun
) -> dict[str, Proof]:
    proofs, running = _look(folder, hosts, ended)
    if "playbook" in folder.job():
        # What a module of Ansible has begun on a host goes on there, and cannot be found.
        left: Proof = "unknown" if ended else "still_running"
        return proofs | {host.id: left for host in running.values()}
    if running:
        proofs |= _read(stop_on_hosts(running, ASK_SECONDS), folder, running, ended)
    return proofs


def _note_end(folder: JobFolder) -> None:
    """Only after the hosts were asked: who follows the run waits for what they have still said."""
    folder.shred()
    with suppress(OSError):
        if not any(record["event"] == "end" for record in folder.reader().read()):
            folder.writer().append("end", status="canceled", rc=254, error="")
    for name, value in (("status", "canceled"), ("rc", "254")):
        with suppress(OSError):
            folder.write(f"artifacts/{folder.handle}/{name}", value.encode())


def _look(
    folder: JobFolder, hosts: Mapping[str, Target], ended: bool
) -> tuple[dict[str, Proof], dict[str, Target]]:
    """What the spool proves, and the hosts of which it says no more than that they were begun with."""
    begun: set[str] = set()
    over: set[str] = set()
    never: set[str] = set()
    with suppress(OSError):
        for record in folder.reader().read():
            if record["event"] == "start":
                begun.add(record["host"])
            elif record["event"] == "answer":
                (never if record["how"] in NEVER_SENT else over).add(record["host"])
            elif record["event"] == "stats":
                over |= set(record["hosts"])
    proofs: dict[str, Proof] = {}
    running = {}
    for name, host in hosts.items():
        if name in never:
            proofs[host.id] = "not_started"
        elif name in over:
            proofs[host.id] = "unknown"
        elif name in begun or not ended:
            running[name] = host
        else:
            proofs[host.id] = "not_started"
    return proofs, running


def _read(
    stopping: JobFolder, folder: JobFolder, hosts: Mapping[str, Target], ended: bool
) -> dict[str, Proof]:
    """What the hosts say, for as long as there is time.

    Work that was over by itself says its answer; if the run has *ended*, nobody but us can note that.
    """
    proofs: dict[str, Proof] = {}
    end = time.monotonic() + ASK_SECONDS
    records: list[dict[str, Any]] = []
    reader = stopping.reader()
    while len(proofs) < len(hosts) and time.monotonic() < end:
        with suppress(FileNotFoundError):
            records = reader.read()
        for record in records:
            if record["event"] == "end":
                return proofs
            host = hosts.get(record.get("host", ""))
            if record["event"] == "answer" and host is not None and record["how"] == "said":
                words = words_of(record["text"])[0]
                proofs[host.id] = unpack_stop(words, folder.handle)
                if ended and words.startswith(ANSWER):
                    with suppress(OSError):
                        folder.writer().append(**record)
            elif record["event"] == "answer" and host is not None:
                proofs[host.id] = "unknown"
        time.sleep(0.02)
    return proofs
