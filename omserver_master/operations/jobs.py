"""Jobs as callers see them: previewed, submitted, followed, stopped."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from threading import Event
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Connection, RowMapping

from omserver_client.errors import BadRequest, Forbidden, NotFound
from omserver_master import audit
from omserver_master.access import rights
from omserver_master.contract.locknames import LOCK_NAME
from omserver_master.failpoints import reach
from omserver_master.jobs import again as tries
from omserver_master.jobs import submission, waiting
from omserver_master.jobs.selection import Named
from omserver_master.jobs.states import FINAL_JOB, HOST_STATES, JOB_STATES
from omserver_master.jobs.submission import Submitted, Wish
from omserver_master.store import engine as store
from omserver_master.store import jobs, outputs, results

from . import views
from .context import Context
from .table import Args, Number, operation

#: Seconds between two looks at the database while a call waits and nothing was announced.
LOOK_ANYWAY = 1.0


class HostName(Args):
    """A host by our id, or by its name and perhaps one of its addresses."""

    id: Number | None = None
    name: str = Field("", max_length=255)
    ip: str = Field("", max_length=45)

    def named(self) -> Named:
        return Named(self.id, self.name, self.ip)


class RolloutWanted(Args):
    """How a job goes over its hosts; what each option may be is checked in one place for modules too."""

    batch: str | int | None = None
    canary: list[str | Number] | None = Field(None, max_length=1000)
    ask: bool | None = None
    wait: int | None = None
    stop_after: str | int | None = None
    unreachable_counts: bool | None = None
    spread: str | list[list[str]] | None = None
    verify: str | None = None
    verify_times: int | None = None
    verify_within: int | None = None
    expect: int | None = None
    pause_limit: int | None = None

    def options(self) -> dict[str, Any]:
        given = self.model_dump(exclude_none=True)
        shares = {name: str(given[name]) for name in ("batch", "stop_after") if name in given}
        return given | shares


class Wanted(Args):
    """What is to run where."""

    module: str
    params: dict[str, Any] | list[Any] = Field(default_factory=dict)
    hosts: list[str | HostName] = Field(max_length=100_000)
    dry_run: bool = False
    rollout: RolloutWanted | None = None
    locks: list[Annotated[str, Field(pattern=f"^{LOCK_NAME}$")]] = Field(default_factory=list, max_length=20)
    lock_mode: Literal["queue", "skip", "refuse"] = "queue"

    def wish(self) -> Wish:
        named = [Named(name=host) if isinstance(host, str) else host.named() for host in self.hosts]
        rollout = self.rollout.options() if self.rollout else None
        locks: dict[str, Any] = {"locks": self.locks, "lock_mode": self.lock_mode}
        return Wish(self.module, self.params, named, dry_run=self.dry_run, rollout=rollout, **locks)


class Submit(Wanted):
    """What is to run where, and within which limits. Times are seconds."""

    confirm: Number | None = None
    timeout: int | None = Field(None, ge=1, le=86_400)
    start_before: int | None = Field(None, ge=1, le=7 * 86_400)
    #: Until when hosts that are unreachable are tried again, in unix seconds.
    until: float | None = None

    def wish(self) -> Wish:
        limits = {name: getattr(self, name) for name in ("confirm", "timeout", "start_before", "until")}
        return replace(super().wish(), **limits)


class JobId(Args):
    job: Number


class ListJobs(Args):
    limit: int = Field(50, ge=1, le=500)
    before: Number | None = None
    state: str | None = None
    module: str | None = None
    user: str | None = None
    host: str | None = None
    #: When they were created, in unix seconds.
    since: float | None = Field(None, ge=0, le=1e11)
    until: float | None = Field(None, ge=0, le=1e11)


class Results(JobId):
    state: str | None = None
    limit: int = Field(500, ge=1, le=5000)
    after: Number | None = None


class Output(JobId):
    host_id: Number
    stream: str = Field("stdout", pattern="^(stdout|stderr)$")
    offset: Number = 0
    limit: int = Field(262_144, ge=1, le=2_097_152)


class Events(JobId):
    since: Number = 0
    wait: float = Field(0, ge=0, le=25)
    until: Literal["change", "end"] = "change"


@operation("job.preview", role="operator")
def preview(context: Context, args: Wanted) -> dict[str, Any]:
    """What exactly would run where; nothing is stored and nothing is sent."""
    rules, wish = context.site.rules, args.wish()
    module = submission.usable_module(rules, wish)
    with store.read(context.site.engine) as conn:
        found = submission.plan(conn, rules, context.who, wish, module)
    return views.plan(found)


@operation("job.submit", role="operator")
def submit(context: Context, args: Submit) -> dict[str, Any]:
    """Commit a job; when this answers, it is durable. The same idempotency key answers the same job."""
    done = commit(context, args.wish())
    reach("submit.before_answer")
    return {"job": _submitted(context, done), "repeated": done.repeated}


def commit(context: Context, wish: Wish) -> Submitted:
    """Submit *wish* for whoever asks, and wake the workers."""
    site = context.site
    done = submission.submit(
        site.engine,
        site.rules,
        context.who,
        context.caller,
        wish,
        message_id=context.request.id,
        key=context.request.key,
    )
    site.ring()
    return done


@operation("job.list", role="viewer")
def list_jobs(context: Context, args: ListJobs) -> dict[str, Any]:
    """The newest jobs that this person may see."""
    _known(args.state, JOB_STATES)
    wanted = args.model_dump(exclude={"limit"})
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(context.who)
        rows = jobs.list_jobs(conn, limit=args.limit + 1, scope=scope, **wanted)
        found = results.counts(conn, [row["id"] for row in rows], scope)
        whys = waiting.reasons(conn, rows, context.site.most, scope)
    page = [views.job(row, found[row["id"]], whys.get(row["id"])) for row in rows[: args.limit]]
    return {"jobs": page, "more": len(rows) > args.limit}


@operation("job.show", role="viewer")
def show(context: Context, args: JobId) -> dict[str, Any]:
    """One job with its counts by state."""
    return {"job": _job(context, args.job)}


@operation("job.results", role="viewer")
def show_results(context: Context, args: Results) -> dict[str, Any]:
    """The hosts of a job in the order of their ids."""
    _known(args.state, HOST_STATES)
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(context.who)
        _visible(conn, args.job, scope)
        rows = results.results(
            conn, args.job, state=args.state, limit=args.limit + 1, after=args.after, scope=scope
        )
    return {"results": [views.result(row) for row in rows[: args.limit]], "more": len(rows) > args.limit}


@operation("job.output", role="viewer")
def output(context: Context, args: Output) -> dict[str, Any]:
    """A piece of what one host printed, as base64 of the bytes."""
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(context.who)
        row = results.result_row(conn, args.job, args.host_id, scope)
        if row is None:
            raise NotFound(f"Job {args.job} has no such host, or it may not be seen.")
        if row[f"{args.stream}_id"] is None and row[f"{args.stream}_bytes"]:
            raise _removed(context, _visible(conn, args.job, scope))
        text = outputs.get_output(conn, context.site.site_key, row[f"{args.stream}_id"])
    end = args.offset + args.limit
    return {
        "text": base64.b64encode(text[args.offset : end]).decode(),
        "bytes_total": len(text),
        "cut_bytes": row[f"{args.stream}_cut"],
        "next": end if end < len(text) else None,
    }


def _removed(context: Context, job: Mapping[str, Any]) -> NotFound:
    """What to say of an output that was kept for its time."""
    if job["purged"] is None:
        return NotFound("The output is just being removed.")
    day = time.strftime("%Y-%m-%d", time.gmtime(job["purged"]))
    old = job["purged"] - job["finished"] >= context.site.settings.keep_output_days * 86_400
    why = "by age" if old else "to make room"
    return NotFound(f"The output was removed on {day} {why}.", purged=job["purged"])


@operation("job.events", role="viewer")
def events(context: Context, args: Events) -> dict[str, Any]:
    """What changed in a job since an event number.

    Waits for something new, or ``until`` the job's end, for at most ``wait`` seconds. That the job waits for
    something else than at first is new, too.
    """
    end = time.monotonic() + args.wait
    if args.until == "end" and args.wait > 0:
        return _at_the_end(context, args, end)
    whys: list[Any] = []
    with context.site.changes.of(args.job) as change:
        while True:
            change.clear()
            answer = _events_now(context, args, waited=bool(whys))
            over = answer["job"]["state"] in FINAL_JOB
            whys.append(answer["job"]["why"])
            news = answer["event"] > args.since or whys[0] != whys[-1]
            if over or news or not _changed(context, answer["job"], change, end):
                return answer


def _at_the_end(context: Context, args: Events, end: float) -> dict[str, Any]:
    """What changed in a job, once it is over or *end* has come; until then only whether it is, is read."""
    began, rung = time.monotonic(), False
    with context.site.changes.of(args.job, end=True) as change:
        while True:
            change.clear()
            now = time.monotonic()
            if rung or now >= end or _is_over(context, args.job):
                answer = _events_now(context, args, waited=now - began > LOOK_ANYWAY)
                if now >= end or answer["job"]["state"] in FINAL_JOB:
                    return answer
            rung = change.wait(min(end - now, 2 * LOOK_ANYWAY))


def _is_over(context: Context, job_id: int) -> bool:
    """Whether there is nothing to wait for: the job is over, or is none that may be seen."""
    with store.look(context.site.engine) as conn:
        latest = jobs.event_of(conn, job_id, rights.visible_hosts(context.who))
    return latest is None or latest.over


@operation("job.cancel", role="operator")
def cancel(context: Context, args: JobId) -> dict[str, Any]:
    """Ask for a job to be stopped; what was proved about each host comes with its result.

    Of a job that is over, only the trying again of its hosts is stopped.
    """
    asked = [args.job]
    with store.begin(context.site.engine) as conn:
        row = to_change(conn, context, args.job, "Cancelling this job needs the right to run it.")
        if row["state"] not in FINAL_JOB or jobs.stop_trying(conn, args.job):
            asked += [job["id"] for job in tries.tries_among(jobs.reruns_of(conn, args.job), args.job)]
            for job_id in asked:
                jobs.ask_cancel(conn, job_id)
            audit.accepted(conn, context.caller, context.who, "job.cancel", f"job {args.job}", row["module"])
            reach("cancel.before_commit")
    reach("cancel.after_commit")
    for job_id in asked:
        context.site.ring(job_id)
    return {"job": _job(context, args.job)}


def _changed(context: Context, job: Mapping[str, Any], change: Event, end: float) -> bool:
    """Whether *job* changes before *end*; most often not, so that no more than that is read."""
    while (left := end - time.monotonic()) > 0:
        change.wait(min(left, LOOK_ANYWAY))
        change.clear()
        with store.read(context.site.engine) as conn:
            found = jobs.event_of(conn, job["id"])
            if found is None or found.number != job["event"] or _waits_for_more(context, conn, job):
                return True
    return False


def _waits_for_more(context: Context, conn: Any, job: Mapping[str, Any]) -> bool:
    """Whether *job*, which waits or is in the queue, waits for something else by now; that is no event."""
    if job["why"] is None and job["state"] != "queued":
        return False
    row, scope = jobs.job_row(conn, job["id"]), rights.visible_hosts(context.who)
    why = None
    if row is not None:
        why = waiting.reasons(conn, [row], context.site.most, scope).get(job["id"])
    return bool((why.to_wire() if why is not None else None) != job["why"])


def _events_now(context: Context, args: Events, *, waited: bool) -> dict[str, Any]:
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(rights.refreshed(conn, context.who) if waited else context.who)
        row = _visible(conn, args.job, scope)
        changed, event = results.events_since(conn, args.job, args.since, scope=scope, newest=row["event"])
        if len(changed) == row["host_count"]:
            found: Mapping[str, int] = Counter(result["state"] for result in changed)
        else:
            found = results.counts(conn, [args.job], scope)[args.job]
        why = waiting.reasons(conn, [row], context.site.most, scope).get(args.job)
    return {"job": views.job(row, found, why), "results": [views.result(r) for r in changed], "event": event}


def _submitted(context: Context, done: Submitted) -> dict[str, Any]:
    """The job that a wish led to; a new one as it was written, without reading it again."""
    if done.row is None:
        return _job(context, done.job_id)
    row = {**done.row, "key_name": context.caller.key.name}
    scope = rights.visible_hosts(context.who)
    with store.look(context.site.engine) as conn:
        why = waiting.reasons(conn, [row], context.site.most, scope, new=True).get(done.job_id)
    shown = views.job(row, {"pending": row["host_count"]}, why)
    return shown | {"again": None} | views.reruns([])


def _job(context: Context, job_id: int) -> dict[str, Any]:
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(context.who)
        row = _visible(conn, job_id, scope)
        why = waiting.reasons(conn, [row], context.site.most, scope).get(job_id)
        shown = views.job(row, results.counts(conn, [job_id], scope)[job_id], why)
        again = {"again": tries.standing(conn, row, scope)}
        return shown | again | views.reruns(jobs.reruns_of(conn, job_id, scope))


def to_change(
    conn: Connection, context: Context, job_id: int, refusal: str, *, own: bool = True
) -> RowMapping:
    """The job, for who may change it: whoever may run it, and with *own* whoever submitted it.

    Raises:
        NotFound: there is none, or it may not be seen.
        Forbidden: neither is true of who asks; *refusal* says so.
    """
    who = context.who
    row: RowMapping = _visible(conn, job_id, rights.visible_hosts(who))
    if not own or row["user_id"] != who.id:
        host_ids = [result["host_id"] for result in results.results(conn, job_id)]
        if rights.may_run(conn, who, row["module"], host_ids):
            raise Forbidden(refusal, module=row["module"])
    return row


def _visible(conn: Any, job_id: int, scope: jobs.Scope) -> Any:
    row = jobs.job_row(conn, job_id, scope)
    if row is None:
        raise NotFound(f"There is no job {job_id}, or it may not be seen.")
    return row


def _known(state: str | None, states: frozenset[str]) -> None:
    if state is not None and state not in states:
        raise BadRequest(
            f"There is no state {state!r}; there are {', '.join(sorted(states))}.", field="state"
        )
