"""Compares what was acknowledged, what the database holds, what hosts were really told, and the audit.

`judge` is a plain function of those four, so that anybody can recompute it from the kept evidence.
"""

from __future__ import annotations

import base64
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omserver_master.jobs.dispatch import LATEST_SEND
from omserver_master.jobs.states import FINAL_HOST, FINAL_JOB
from omserver_master.store.results import may_replace

from .acks import STEPS, Asked

TOKEN = re.compile(r"\b(tok-[0-9a-f]+)(?:/(\w+))?")

#: What can be wrong, and what that means.
KINDS: Mapping[str, str] = {
    "lost job": "acknowledged, and not in the database",
    "doubled job": "one wish, more than one job",
    "stuck": "no final state within the bound after the last fault",
    "lost host": "a job does not have exactly one row for each host asked for",
    "lost result": "shown to a caller, and another or none in the database",
    "done twice": "`once` work that a host began twice",
    "overlap": "`idempotent` work begun again before its first try was over",
    "ok without proof": "`ok`, and the host never answered that",
    "wrong output": "another output than the host gave",
    "not not_started": "`not_started`, and the host began it",
    "cancelled without proof": "`cancelled`, and the host was neither stopped nor done before",
    "start after cancel": "a host began after the cancel was acknowledged; it was not under way before",
    "unresolved": "`unknown`, or `timed_out`, though the host's answer could be had",
    "unexplained": "`unknown` without a reason",
    "nobody's work": "a host was told what no job in the database asks for",
    "audit": "an action without its audit row, or a row too many, or a broken chain",
}


@dataclass(frozen=True)
class HostRow:
    """One host of a job in the database."""

    host: str
    state: str
    reason: str = ""
    rc: int | None = None
    stdout: bytes = b""
    intents: tuple[float, ...] = ()
    """For each step, when it was committed that it is about to be given, in unix seconds."""


@dataclass(frozen=True)
class JobRow:
    """One job in the database."""

    id: int
    token: str
    state: str
    hosts: Sequence[HostRow] = ()


@dataclass
class Verdict:
    """What is wrong, as (kind, what exactly), and how much was looked at."""

    violations: list[tuple[str, str]] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def wrong(self, kind: str, text: str) -> None:
        """Note a violation."""
        assert kind in KINDS, kind
        self.violations.append((kind, text))

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(kind for kind, _ in self.violations)


@dataclass
class _Work:
    """What one host was told of one step of one wish, in order."""

    took: list[Mapping[str, Any]] = field(default_factory=list)
    lines: list[Mapping[str, Any]] = field(default_factory=list)

    def answers(self) -> list[Mapping[str, Any]]:
        return [line for line in self.lines if line["did"] == "answered"]

    def good(self) -> list[Mapping[str, Any]]:
        return [line for line in self.answers() if (line["state"], line["rc"]) == ("done", 0)]

    def is_over(self, handle: str, before: float) -> bool:
        return any(
            line["handle"] == handle
            and line["at"] <= before
            and (line["did"] == "answered" or line.get("proof") in ("stopped", "not_started"))
            for line in self.lines
        )


Key = tuple[str, str, str]
"""Token, host, step (``""`` for work of one step)."""


def judge(
    asked: Iterable[Asked],
    jobs: Iterable[JobRow],
    ledger: Iterable[Mapping[str, Any]],
    audit: Mapping[str, Counter[int]] | None = None,
    latest_send: float = LATEST_SEND,
) -> Verdict:
    """Compare them.

    Args:
        jobs: the jobs of these wishes as they stand in the database.
        ledger: the lines of the invented hosts, in their order.
        latest_send: seconds that work may be under way to a host after it was committed that it will be sent.
        audit: for the actions ``job.submit`` and ``job.cancel``, how many accepted rows each job id has.
    """
    verdict, told = Verdict(), read_ledger(ledger)
    by_token: dict[str, list[JobRow]] = defaultdict(list)
    for job in jobs:
        by_token[job.token].append(job)
    for wish in asked:
        mine = by_token[wish.token]
        _judge_jobs(verdict, wish, mine, audit)
        for job in mine:
            _judge_hosts(verdict, wish, job, told)
        work = {key: work for key, work in told.items() if key[0] == wish.token}
        _judge_work(verdict, wish, work, mine, latest_send)
    return verdict


def read_ledger(lines: Iterable[Mapping[str, Any]]) -> dict[Key, _Work]:
    """The ledger by wish, host and step."""
    told: dict[Key, _Work] = defaultdict(_Work)
    known: dict[tuple[str, str], Key] = {}
    for line in lines:
        place = line["handle"], line["host"]
        if line["did"] == "took":
            found = TOKEN.search(line["command"])
            known[place] = found[1] if found else "?", line["host"], (found and found[2]) or ""
            told[known[place]].took.append(line)
        if place in known:
            told[known[place]].lines.append(line)
    return told


def _judge_jobs(
    verdict: Verdict, wish: Asked, mine: Sequence[JobRow], audit: Mapping[str, Counter[int]] | None
) -> None:
    verdict.figures["jobs asked for"] += 1
    verdict.figures["jobs acknowledged"] += wish.job is not None
    verdict.figures["cancels acknowledged"] += wish.cancelled is not None
    ids = {job.id for job in mine}
    if not wish.answered_jobs <= ids:
        verdict.wrong("lost job", f"{wish.token}: acknowledged as {wish.answered_jobs}, there are {ids}")
    if len(ids) > 1 or len(wish.answered_jobs) > 1:
        verdict.wrong("doubled job", f"{wish.token}: jobs {ids}, acknowledged {wish.answered_jobs}")
    for job in mine:
        if job.state not in FINAL_JOB:
            verdict.wrong("stuck", f"job {job.id} is {job.state}")
        elif wish.seen_end and job.state != wish.seen_end:
            verdict.wrong("lost result", f"job {job.id} was shown {wish.seen_end}, now {job.state}")
        if audit is not None:
            _judge_audit(verdict, wish, job, audit)


def _judge_audit(verdict: Verdict, wish: Asked, job: JobRow, audit: Mapping[str, Counter[int]]) -> None:
    if (rows := audit["job.submit"][job.id]) != 1:
        verdict.wrong("audit", f"job {job.id}: {rows} rows say that it was submitted")
    if wish.cancelled is not None and job.state == "cancelled" and not audit["job.cancel"][job.id]:
        verdict.wrong("audit", f"job {job.id}: no row says that it was cancelled")


def _judge_hosts(verdict: Verdict, wish: Asked, job: JobRow, told: Mapping[Key, _Work]) -> None:
    if sorted(row.host for row in job.hosts) != sorted(wish.hosts):
        verdict.wrong("lost host", f"job {job.id}: {[row.host for row in job.hosts]} for {wish.hosts}")
    for row in job.hosts:
        verdict.figures["host results"] += 1
        verdict.figures[row.state] += 1
        where = f"job {job.id} ({wish.repeat}) {row.host}: {row.state} {row.reason}".strip()
        if row.state not in FINAL_HOST:
            verdict.wrong("stuck", where)
        _judge_seen(verdict, wish, row, where)
        _judge_evidence(verdict, wish, row, told, where)


def _judge_seen(verdict: Verdict, wish: Asked, row: HostRow, where: str) -> None:
    seen = wish.seen.get(row.host)
    if seen is None:
        return
    verdict.figures["host results shown to callers"] += 1
    same = (seen["state"], seen["rc"]) == (row.state, row.rc)
    if not same and not may_replace(seen["state"], row.state):
        verdict.wrong("lost result", f"{where}; it was shown as {seen['state']}, {seen['rc']}")


def _judge_evidence(
    verdict: Verdict, wish: Asked, row: HostRow, told: Mapping[Key, _Work], where: str
) -> None:
    steps = [""] if wish.steps == 1 else list(STEPS[: wish.steps])
    works = [told.get((wish.token, row.host, step), _Work()) for step in steps]
    good = [work.good() for work in works]
    if row.state == "ok":
        if not all(good):
            verdict.wrong("ok without proof", where)
        elif row.stdout not in [base64.b64decode(line["stdout"]) for line in good[-1]]:
            verdict.wrong("wrong output", f"{where}: {row.stdout!r}")
    elif row.state == "not_started" and any(work.took for work in works):
        verdict.wrong("not not_started", where)
    elif row.state == "cancelled":
        over = [line for work in works for line in work.lines if line["did"] == "answered"]
        stopped = [line for work in works for line in work.lines if line.get("proof") == "stopped"]
        if not over and not stopped:
            verdict.wrong("cancelled without proof", where)
    elif row.state == "timed_out" and "timeout" in wish.options:
        if all(good):  # it was asked for long enough
            verdict.wrong("unresolved", where)
    elif row.state == "unknown":
        if not row.reason:
            verdict.wrong("unexplained", where)
        if all(work.good() for work in works if work.took) and any(good):
            verdict.wrong("unresolved", where)


def _judge_work(
    verdict: Verdict, wish: Asked, told: Mapping[Key, _Work], mine: Sequence[JobRow], latest_send: float
) -> None:
    intents = {row.host: row.intents for job in mine for row in job.hosts}
    for (token, host, step), work in told.items():
        where = f"{token} ({wish.repeat}) {host} {step}".strip()
        verdict.figures["works begun"] += len(work.took)
        if host not in wish.hosts or not mine:
            verdict.wrong("nobody's work", where)
        if wish.repeat == "once" and len(work.took) > 1:
            verdict.wrong("done twice", f"{where}: {[line['handle'] for line in work.took]}")
        if wish.repeat == "idempotent":
            for before, after in zip(work.took, work.took[1:], strict=False):
                if not work.is_over(before["handle"], after["at"]):
                    verdict.wrong("overlap", where)
        for line in work.took:
            if wish.cancelled is not None and line["at"] > wish.cancelled:
                late = line["at"] - wish.cancelled
                verdict.figures["begun after a cancel's acknowledgement, under way before it"] += 1
                number = STEPS.index(step) if step else 0
                intent = next(iter(intents.get(host, ())[number:]), float("inf"))
                if intent > wish.cancelled or line["at"] > intent + latest_send:
                    verdict.wrong("start after cancel", f"{where}: {late:.3f} s after it")
