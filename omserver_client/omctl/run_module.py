"""``omctl run``: run a module on hosts and watch them answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..client import Client
from ..errors import ConfirmationNeeded, NotReached
from . import ends
from .connection import master
from .follow import Progress, Questions, follow, job_line
from .outputs import all_results, outputs_as_json, print_outputs
from .params import read_params
from .rollout import rollout_options, take_rollout
from .show import console, json_option, print_error, print_json
from .visible import visible_line
from .when import moment, whole_moment


@click.command("run")
@click.argument("module")
@click.option(
    "--host", "names", multiple=True, required=True, help="A host's name; give it once for each host."
)
@click.option(
    "-p", "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter; lists repeat it."
)
@click.option(
    "--arg", "values", multiple=True, metavar="VALUE", help="A parameter by position, for a module of 2014."
)
@click.option("--timeout", type=click.IntRange(min=1), help="Seconds that each host may take.")
@click.option("--start-before", type=click.IntRange(min=1), help="Seconds within which it must start.")
@click.option(
    "--until",
    type=moment,
    metavar="TIME",
    help="Try hosts that are off again until then: friday, fri 18:00, a date and time, +2h.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing; each host says what it would change.")
@click.option("--confirm", type=click.IntRange(min=1), help="Confirm that this many hosts are meant.")
@click.option("--yes", is_flag=True, help="Confirm any number of hosts.")
@click.option("--no-wait", is_flag=True, help="Print the job's number and do not follow it.")
@click.option("--output", is_flag=True, help="At the end, print all that the hosts printed.")
@click.option("--raw", is_flag=True, help="With --output: as it came, control characters and all.")
@click.option(
    "--lock",
    "locks",
    multiple=True,
    metavar="NAME",
    help="One job at a time has it; host: each of its hosts.",
)
@click.option(
    "--lock-mode",
    type=click.Choice(["queue", "skip", "refuse"]),
    help="While another job has a lock: wait for it (queue), leave those hosts out, or do not run.",
)
@click.option("--key", help="Idempotency key: the same run sent again under it is the same job.")
@rollout_options
@json_option
def run(
    module: str,
    names: Sequence[str],
    pairs: Sequence[str],
    values: Sequence[str],
    confirm: int | None,
    yes: bool,
    no_wait: bool,
    output: bool,
    raw: bool,
    dry_run: bool,
    locks: Sequence[str],
    as_json: bool,
    **options: Any,
) -> int:
    """Run MODULE on the named hosts, and show each host as it answers. The exit code tells how it ended."""
    params = read_params(pairs, values)
    rollout = take_rollout(options)
    with master() as client:
        locking = {"locks": list(locks), "lock_mode": options["lock_mode"]}
        plan = client.preview(module, params, list(names), dry_run=dry_run, rollout=rollout, **locking)
        for warning in plan["warnings"]:
            print_error(f"omctl: {visible_line(warning['text'])}")
        tell_until(options["until"])
        number = confirm or confirmed(plan, yes)
        options |= {"dry_run": dry_run or None, "rollout": rollout, "locks": list(locks) or None}
        job = client.submit(module, params, list(names), confirm=number, **options)["job"]
        if no_wait:
            announce(job, as_json)
            return ends.OK
        return watch(client, job["id"], output=output, raw=raw, as_json=as_json)


def tell_until(until: float | None) -> None:
    """Say back which moment *until* is; None: nobody named one."""
    if until is not None:
        print_error(f"omctl: hosts that are off are tried again until {whole_moment(until)}.")


def watch(client: Client, job_id: int, *, output: bool, raw: bool, as_json: bool) -> int:
    """Follow a job to its end and answer the exit code; Ctrl-C leaves the job running."""
    try:
        return _watch(client, job_id, output=output, raw=raw, as_json=as_json)
    except KeyboardInterrupt:
        print_error(f"omctl: the job goes on. Follow it: omctl job tail {job_id}")
        return ends.INTERRUPTED
    except NotReached:
        print_error(f"omctl: the job was accepted. When the master is back: omctl job tail {job_id}")
        raise


def _watch(client: Client, job_id: int, *, output: bool, raw: bool, as_json: bool) -> int:
    questions = Questions(print_error)
    if as_json:
        job = follow(client, job_id, _ignore, questions.job)
        print_json(job_document(client, job, output=output))
        return ends.exit_code(job)
    out = console()
    progress = Progress(out)

    def note(job: Mapping[str, Any]) -> None:
        progress.job(job)
        questions.job(job)

    with progress.shown():
        job = follow(client, job_id, progress.result, note)
    if output:
        print_outputs(client, job_id, all_results(client, job_id), raw=raw)
    out.print(job_line(job))
    if not output:
        out.print(f"All output: omctl job show {job_id} --output")
    return ends.exit_code(job)


def job_document(
    client: Client, job: Mapping[str, Any], *, output: bool, state: str | None = None
) -> dict[str, Any]:
    """A job and its host results as one document; with *output*, all that the hosts printed."""
    results = all_results(client, job["id"], state)
    if output:
        results = outputs_as_json(client, job["id"], results)
    return {"job": dict(job), "results": results}


def confirmed(plan: Mapping[str, Any], yes: bool) -> int | None:
    """The number of hosts that somebody confirmed, or None where none was asked for."""
    number: int | None = plan["confirm"]
    if number is None or yes:
        return number
    hosts = "1 host" if number == 1 else f"{number} hosts"
    what = f"{plan['module']['id']} {visible_line(plan['module']['title'])} on {hosts}"
    if not sys.stdin.isatty():
        raise ConfirmationNeeded(f"Running {what} must be confirmed: --confirm {number}.", number=number)
    typed = click.prompt(
        f"{what}: risk {plan['module']['risk']}. Type {number} to run it", default="", show_default=False
    )
    if typed.strip() != str(number):
        raise ConfirmationNeeded("Not confirmed; nothing was run.", number=number)
    return number


def announce(job: Mapping[str, Any], as_json: bool) -> None:
    """Say that the master has taken the job, and how to follow it."""
    if as_json:
        print_json({"job": dict(job)})
    else:
        click.echo(f"{job_line(job)}\nFollow it: omctl job tail {job['id']}")


def _ignore(_: Mapping[str, Any]) -> None:
    """News that nobody prints: the document at the end says it all."""
