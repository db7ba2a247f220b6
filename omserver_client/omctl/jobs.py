"""``omctl jobs``, ``job show``, ``job tail``, ``job cancel``: what was run, and what happened."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import click

from ..client import Client
from . import ends
from .connection import master
from .follow import job_line, result_line, why_line
from .outputs import all_results, print_outputs
from .params import param_words
from .rerun import rerun
from .run_module import job_document, watch
from .show import console, counts_text, json_option, local_time, print_json, print_table, state_word
from .visible import visible_line
from .when import past


@click.command()
@click.option("--state", help="Only jobs in this state.")
@click.option("--module", help="Only jobs of this module.")
@click.option("--user", help="Only jobs of this user.")
@click.option("--host", help="Only jobs on this host.")
@click.option("--since", type=past, metavar="TIME", help="Only jobs from then on: 2h, 3d, today, a date.")
@click.option("--until", type=past, metavar="TIME", help="Only jobs up to then.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
@json_option
def jobs(as_json: bool, limit: int, **wanted: Any) -> None:
    """List jobs, the newest first."""
    with master() as client:
        answer = client.jobs(limit=limit, **{name: value for name, value in wanted.items() if value})
    if as_json:
        print_json(answer)
        return
    waits = ("waits for",) if any(one.get("why") for one in answer["jobs"]) else ()
    rows = [
        _row(one) + ((why_line(one) if one.get("why") else "",) if waits else ()) for one in answer["jobs"]
    ]
    print_table(("job", "module", "state", "hosts", "user", "created", *waits), rows)
    if answer["more"]:
        click.echo(f"There are more; --limit {limit * 2} shows them.")


@click.group()
def job() -> None:
    """Show, follow, cancel one job, or do it again."""


job.add_command(rerun)


@job.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--output", is_flag=True, help="Print all that the hosts printed.")
@click.option("--raw", is_flag=True, help="With --output: as it came, control characters and all.")
@click.option("--follow", is_flag=True, help="Wait for its end, as omctl job tail does.")
@click.option("--state", help="Only the hosts in this state.")
@json_option
def show(job_id: int, output: bool, raw: bool, follow: bool, state: str | None, as_json: bool) -> int:
    """Show a job and what happened on each of its hosts."""
    with master() as client:
        if follow:
            return watch(client, job_id, output=output, raw=raw, as_json=as_json)
        found = client.job(job_id)
        if as_json:
            print_json(job_document(client, found, output=output, state=state))
        else:
            _print_job(client, found, output=output, raw=raw, state=state)
    return ends.OK


@job.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--output", is_flag=True, help="At the end, print all that the hosts printed.")
@click.option("--raw", is_flag=True, help="With --output: as it came, control characters and all.")
@json_option
def tail(job_id: int, output: bool, raw: bool, as_json: bool) -> int:
    """Follow a job: each host as it answers, until the end. The exit code is that of its run."""
    with master() as client:
        return watch(client, job_id, output=output, raw=raw, as_json=as_json)


@job.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@json_option
def cancel(job_id: int, as_json: bool) -> None:
    """Stop a job: hosts not yet begun are left alone, work that runs is stopped where that is possible."""
    with master() as client:
        found = client.cancel(job_id)
    if as_json:
        print_json({"job": found})
    else:
        click.echo(job_line(found))


@job.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@json_option
def pause(job_id: int, as_json: bool) -> None:
    """Let a job begin on no further host until it is resumed; hosts at work go on."""
    with master() as client:
        found = client.pause_job(job_id)
    if as_json:
        print_json({"job": found})
    else:
        click.echo(f"Job {job_id} is paused." if found["pause_asked"] else job_line(found))


@job.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@json_option
def resume(job_id: int, as_json: bool) -> None:
    """Let a paused job go on, or give it the go-ahead that it asks for."""
    with master() as client:
        found = client.resume_job(job_id)
    if as_json:
        print_json({"job": found})
    else:
        click.echo(job_line(found) if found["finished"] else f"Job {job_id} goes on.")


@job.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@json_option
def pin(job_id: int, as_json: bool) -> None:
    """Keep a job and its outputs whatever their age."""
    with master() as client:
        _say_kept(client.pin_job(job_id), as_json)


@job.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@json_option
def unpin(job_id: int, as_json: bool) -> None:
    """Let a job and its outputs go when their time comes."""
    with master() as client:
        _say_kept(client.unpin_job(job_id), as_json)


def _say_kept(job: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({"job": job})
    elif job["pinned"]:
        click.echo(f"Job {job['id']} is kept until it is unpinned.")
    else:
        click.echo(f"Job {job['id']} goes when its time comes.")


def _row(job: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        job["id"],
        f"{job['module']} {job['title']}{' (dry run)' if job.get('dry_run') else ''}",
        state_word(job["state"]),
        counts_text(job["counts"]),
        job["user"],
        local_time(job["created"]),
    )


def _print_job(client: Client, job: Mapping[str, Any], *, output: bool, raw: bool, state: str | None) -> None:
    out = console()
    params = shlex.join(param_words(job["params"]))
    out.print(visible_line(f"{job['module']} {job['title']} {params}".rstrip()))
    out.print(f"by {visible_line(job['user'] or job['key'])} at {local_time(job['created'])}")
    results = all_results(client, job["id"], state)
    if output:
        print_outputs(client, job["id"], results, raw=raw)
    else:
        for result in results:
            out.print(result_line(result))
    out.print(job_line(job))
    for line in related(job):
        out.print(line)


def related(job: Mapping[str, Any]) -> list[str]:
    """The first job, the jobs that did it again, and how it stands with the hosts that were off."""
    lines = [f"Again after job {job['rerun_of']}"] if job.get("rerun_of") else []
    reruns = [f"{again['id']} ({state_word(again['state'])})" for again in job.get("reruns") or ()]
    lines += [f"Done again: job {', '.join(reruns)}"] if reruns else []
    return [*lines, *_tries(job.get("again"))]


def _tries(again: Mapping[str, Any] | None) -> list[str]:
    if again is None:
        return []
    were = f"{again['of']} {'host was' if again['of'] == 1 else 'hosts were'} off"
    if again["over"]:
        left = f"{again['off']} did not answer" if again["off"] else "all have answered"
        return [f"{were}; tried again until {local_time(again['until'])}: {left}"]
    now = f" by job {again['at_work']}" if again["at_work"] else ""
    due = f", next at {local_time(again['next'])}" if again["next"] else ""
    return [f"{were}, {again['off']} still; tried again{now} until {local_time(again['until'])}{due}"]
