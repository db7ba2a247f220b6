"""``omctl job rerun``: the same again on some of the hosts of a job."""

from __future__ import annotations

from collections.abc import Sequence

import click

from . import ends
from .connection import master
from .run_module import announce, confirmed, tell_until, watch
from .show import json_option, print_error
from .visible import visible_line
from .when import moment


@click.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--failed", "on", flag_value="failed", help="Where it failed or timed out.")
@click.option("--unreachable", "on", flag_value="unreachable", help="On the hosts that were not reached.")
@click.option(
    "--unfinished",
    "on",
    flag_value="unfinished",
    help="Where it was not started or cancelled, or is unknown.",
)
@click.option("--all", "on", flag_value="all", help="On all its hosts.")
@click.option("--host", "names", multiple=True, help="On this host of the job; once for each host.")
@click.option("--dry-run", is_flag=True, help="Change nothing; each host says what it would change.")
@click.option(
    "--until",
    type=moment,
    metavar="TIME",
    help="Try hosts that are off again until then: friday, fri 18:00, a date and time, +2h.",
)
@click.option("--confirm", type=click.IntRange(min=1), help="Confirm that this many hosts are meant.")
@click.option("--yes", is_flag=True, help="Confirm any number of hosts.")
@click.option("--no-wait", is_flag=True, help="Print the job's number and do not follow it.")
@click.option("--output", is_flag=True, help="At the end, print all that the hosts printed.")
@click.option("--raw", is_flag=True, help="With --output: as it came, control characters and all.")
@click.option("--key", help="Idempotency key: the same rerun sent again under it is the same job.")
@json_option
def rerun(
    job_id: int,
    on: str | None,
    names: Sequence[str],
    dry_run: bool,
    until: float | None,
    confirm: int | None,
    yes: bool,
    no_wait: bool,
    output: bool,
    raw: bool,
    key: str | None,
    as_json: bool,
) -> int:
    """Do a job again on some of its hosts: with the same parameters, as a job of its own."""
    if bool(on) == bool(names):
        raise click.UsageError(
            "Say which hosts: --failed, --unreachable, --unfinished, --all, or --host for each."
        )
    dry = dry_run or None
    with master() as client:
        plan = client.preview_rerun(job_id, on=on, hosts=list(names), dry_run=dry)
        for warning in plan["warnings"]:
            print_error(f"omctl: {visible_line(warning['text'])}")
        tell_until(until)
        number = confirm or confirmed(plan, yes)
        given = {"confirm": number, "dry_run": dry, "until": until}
        job = client.rerun(job_id, on=on, hosts=list(names), key=key, **given)["job"]
        if no_wait:
            announce(job, as_json)
            return ends.OK
        return watch(client, job["id"], output=output, raw=raw, as_json=as_json)
