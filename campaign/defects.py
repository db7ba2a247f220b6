"""OMServer broken on purpose: each of these the campaign must notice, or its figures mean nothing.

A defect replaces a piece of a running master's or worker's code, and only where `process` is told to.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count
from typing import Any

from sqlalchemy import select, update

from omserver_client.errors import NotFound
from omserver_master import audit
from omserver_master.backends.base import Flight
from omserver_master.contract.work import Answer
from omserver_master.jobs import dispatch, late, left, recorder, submission, takeover, worker
from omserver_master.jobs.recorder import DatabaseRecorder
from omserver_master.operations import jobs as operations
from omserver_master.store import clock, jobs, leases, pauses, results, schema, steps
from omserver_master.store import engine as store


@dataclass(frozen=True)
class Defect:
    """What is broken, and how; ``cells`` are cells of the sweep that must notice it, as one of ``kinds``."""

    says: str
    apply: Callable[[], None]
    cells: tuple[str, ...]
    kinds: tuple[str, ...]


#: Seconds between an acknowledgement and the commit that it is about.
LATE = 60.0


def _replace(owner: Any, name: str, by: Any) -> Any:
    """Replace what must be there; answer what it was."""
    before = getattr(owner, name)
    setattr(owner, name, by)
    return before


class _Undone(Exception):
    """Nothing of a transaction is to be kept."""


def _acknowledge_before_commit() -> None:
    def transact(engine: Any, work: Callable[[Any], Any]) -> Any:
        done = []
        with contextlib.suppress(_Undone), store.begin(engine) as conn:
            done.append(work(conn))
            raise _Undone

        def later() -> None:
            time.sleep(LATE)
            with store.begin(engine) as conn:
                work(conn)

        threading.Thread(target=later, daemon=True).start()
        return done[0]

    _replace(submission, "transact_together", transact)

    def shown(context: Any, job_id: int) -> Any:
        try:
            return show(context, job_id)
        except NotFound:
            return {"id": job_id, "state": "queued"}

    show = _replace(operations, "_job", shown)


def _no_intent() -> None:
    _replace(DatabaseRecorder, "dispatched", lambda self, group: time.monotonic())


def _repeat_after_takeover() -> None:
    def forgetful(*args: Any) -> Any:
        found = read(*args)
        for seat in found.seats:
            if seat.state == "dispatched":
                seat.state, seat.sent, seat.left_at, seat.handle = "pending", False, None, ""
        return found

    read = _replace(left, "read", forgetful)


def _no_fence() -> None:
    def fence(conn: Any, job_id: int, attempt: int, **changes: Any) -> Any:
        held = conn.execute(select(schema.jobs.c.attempt).where(schema.jobs.c.id == job_id)).scalar_one()
        return guarded(conn, job_id, held, **{**changes, "even_finished": True})

    guarded = leases.fence
    for module in (leases, results, jobs, pauses):
        _replace(module, "fence", fence)
    _replace(DatabaseRecorder, "news", lambda self: None)


def _lose_a_buffer() -> None:
    def flush(self: DatabaseRecorder, *, force: bool = False) -> None:
        del self._kept[1:]
        before(self, force=force)

    before = _replace(DatabaseRecorder, "flush", flush)


def _deaf_after_takeover() -> None:
    def take_up(group: Any, deadline: float, tell: Callable[[object], None]) -> None:
        for host_id in group.host_ids:
            answer = Answer("unknown", reason="Its worker stopped.")
            tell(dispatch.Answered(host_id, group.handle, answer))

    _replace(takeover, "take_up", take_up)


def _invented_ok() -> None:
    def take_up(group: Any, deadline: float, tell: Callable[[object], None]) -> None:
        for host_id in group.host_ids:
            tell(dispatch.Answered(host_id, group.handle, Answer("done", 0)))

    _replace(takeover, "take_up", take_up)


def _renew_others() -> None:
    def renew(self: worker.Worker) -> None:
        def all_of_them(conn: Any) -> None:
            unfinished = schema.jobs.c.finished.is_(None)
            until = clock.now(conn) + recorder.LEASE
            conn.execute(update(schema.jobs).where(unfinished).values(lease_until=until))

        store.transact(self._engine, all_of_them)

    _replace(worker.Worker, "_renew", renew)
    _replace(worker, "HEARTBEAT", 0.05)


def _ignore_cancel() -> None:
    _replace(jobs, "ask_cancel", jobs.job_row)


def _forget_keys() -> None:
    _replace(jobs, "find_by_idempotency", lambda *_: None)
    _replace(jobs, "find_by_message", lambda *_: None)

    def insert(conn: Any, job: Any, hosts: Any, *rest: Any, **more: Any) -> Any:
        return before(conn, {**job, "idempotency_key": None}, hosts, *rest, **more)

    before = _replace(jobs, "add_job", insert)


def _no_audit() -> None:
    _replace(audit, "accepted", lambda *_, **__: None)


def _audit_outside() -> None:
    """The audit row comes in a transaction of its own, a moment after the action's."""

    def later(engine: Any, *what: Any) -> None:
        time.sleep(1.0)
        with store.begin(engine) as conn:
            before(conn, *what)

    def accepted(conn: Any, *what: Any) -> None:
        threading.Thread(target=later, args=(conn.engine, *what), daemon=True).start()

    before = _replace(audit, "accepted", accepted)


def _swallow_commits() -> None:
    """Of the transactions by which ends are stored, each second one is not committed, and nobody is told."""
    number = count()

    def transact(engine: Any, work: Callable[[Any], Any]) -> Any:
        stores = getattr(work, "__qualname__", "").startswith("DatabaseRecorder._write")
        if not stores or next(number) % 2:
            return together(engine, work)
        done = []
        with contextlib.suppress(_Undone), store.begin(engine) as conn:
            done.append(work(conn))
            raise _Undone
        return done[0]

    together = _replace(recorder, "transact_together", transact)


def _local_time() -> None:
    """Claims run out by the clock of the worker that made them."""

    def wrong(conn: Any) -> float:
        return time.time() - float(clock.now(conn))

    def claim_this(conn: Any, job_id: int, name: str, seconds: float, whole: Any = None) -> Any:
        return claim(conn, job_id, name, seconds + wrong(conn), whole)

    def renew_lease(conn: Any, job_id: int, name: str, attempt: int, seconds: float) -> None:
        renew(conn, job_id, name, attempt, seconds + wrong(conn))

    def fence(conn: Any, *which: Any, lease: float | None = None, **changes: Any) -> Any:
        return guarded(conn, *which, lease=None if lease is None else lease + wrong(conn), **changes)

    claim, renew = _replace(leases, "claim_this", claim_this), _replace(leases, "renew_lease", renew_lease)
    guarded = leases.fence
    for module in (leases, results, jobs, pauses):
        _replace(module, "fence", fence)


def _drop_late() -> None:
    _replace(late.LateRecorder, "_store", lambda self: None)


def _no_reaper() -> None:
    def claim_new(conn: Any, job_id: int, *rest: Any) -> Any:
        state = conn.execute(select(schema.jobs.c.state).where(schema.jobs.c.id == job_id)).scalar()
        return claim(conn, job_id, *rest) if state == "queued" else None

    claim = _replace(leases, "claim_this", claim_new)


def _crossed_answers() -> None:
    """A host's answer is booked for the next host of the same dispatch."""

    def answer(self: Flight, host_id: str, given: Answer) -> None:
        ids = list(self.hosts)
        if host_id in ids:
            host_id = ids[(ids.index(host_id) + 1) % len(ids)]
        before(self, host_id, given)

    before = _replace(Flight, "answer", answer)


def _forget_steps() -> None:
    _replace(steps, "record", lambda *_: None)


def _cut_outputs() -> None:
    @wraps(DatabaseRecorder.ended)
    def ended(self: DatabaseRecorder, host_id: int, ending: Any) -> None:
        before(self, host_id, replace(ending, stdout=ending.stdout[:5]))

    before = _replace(DatabaseRecorder, "ended", ended)


#: All of them, by name.
DEFECTS: Mapping[str, Defect] = {
    "ack before commit": Defect(
        "a job is acknowledged a minute before it is committed",
        _acknowledge_before_commit,
        ("killed at once/submit.before_answer=none/once",),
        ("lost job",),
    ),
    "no intent": Defect(
        "nothing is written down before work is sent",
        _no_intent,
        ("steps/answer.heard=kill/once",),
        ("done twice",),
    ),
    "repeat after takeover": Defect(
        "what a dead worker had sent is sent again, `once` work too",
        _repeat_after_takeover,
        ("steps/answer.heard=kill/once",),
        ("done twice",),
    ),
    "no fence": Defect(
        "a worker that slept through its claim goes on writing and sending",
        _no_fence,
        ("plain/left.read=stop/once",),
        ("done twice",),
    ),
    "lost buffer": Defect(
        "of ends that wait for their commit only the first is kept",
        _lose_a_buffer,
        ("plain/claim.after_commit=kill/once",),
        ("stuck",),
    ),
    "deaf after takeover": Defect(
        "the engine is not asked what became of a dead worker's work",
        _deaf_after_takeover,
        ("steps/answer.heard=kill/once",),
        ("unresolved",),
    ),
    "invented ok": Defect(
        "what a dead worker had sent is taken for done",
        _invented_ok,
        ("plain/send.before=kill/once",),
        ("ok without proof",),
    ),
    "renew others": Defect(
        "a worker keeps the claims of dead workers alive",
        _renew_others,
        ("steps/answer.heard=kill/once",),
        ("stuck",),
    ),
    "ignored cancel": Defect(
        "a cancel is acknowledged and not written down",
        _ignore_cancel,
        ("cancel/cancel.before_commit=error/once",),
        ("start after cancel",),
    ),
    "forgotten keys": Defect(
        "idempotency keys are not kept",
        _forget_keys,
        ("plain/submit.after_commit=kill/once",),
        ("doubled job",),
    ),
    "no audit": Defect(
        "actions leave no audit row", _no_audit, ("plain/claim.after_commit=kill/once",), ("audit",)
    ),
    "audit outside": Defect(
        "an action's audit row is written after the action was committed",
        _audit_outside,
        ("plain/submit.after_commit=kill/once",),
        ("audit",),
    ),
    "swallowed commit": Defect(
        "each second transaction of a job is lost, and nobody is told",
        _swallow_commits,
        ("plain/claim.after_commit=kill/once",),
        ("stuck", "lost result", "done twice", "nobody's work", "not not_started", "unresolved"),
    ),
    "local time": Defect(
        "claims run out by the clock of the worker that made them",
        _local_time,
        ("clock ahead/takeover.before_ask=none/once",),
        ("stuck",),
    ),
    "late answers dropped": Defect(
        "what a host answers after its time is not kept",
        _drop_late,
        ("late/results.after_commit=none/once",),
        ("unresolved",),
    ),
    "no reaper": Defect(
        "jobs of dead workers are never taken up", _no_reaper, ("steps/answer.heard=kill/once",), ("stuck",)
    ),
    "crossed answers": Defect(
        "a host's answer is booked for another host",
        _crossed_answers,
        ("plain/claim.after_commit=kill/once",),
        ("wrong output",),
    ),
    "forgotten steps": Defect(
        "the answers of earlier steps are not kept",
        _forget_steps,
        ("steps/step.after_commit=kill/once",),
        ("done twice", "ok without proof", "unresolved", "wrong output"),
    ),
    "cut outputs": Defect(
        "outputs are cut without a mark",
        _cut_outputs,
        ("plain/claim.after_commit=kill/once",),
        ("wrong output",),
    ),
}
