"""`omserver purge`: remove what need not be kept any longer, now."""

from __future__ import annotations

import signal
import threading

import click

from ..keeping import Keep, Purge, Purged
from ..store.engine import begin
from .localsite import note, open_site, who


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
def command(dry_run: bool) -> None:
    """Remove old outputs, jobs and audit rows, as the master does every hour. Ctrl-C stops it at once.

    KEEP_OUTPUT_DAYS, KEEP_OUTPUT_BYTES, KEEP_JOBS_DAYS and KEEP_AUDIT_DAYS say what is old.
    """
    site, stop = open_site(), threading.Event()
    keep = Keep.of(site.settings)
    purge = Purge(site.engine, site.site_key, keep, stop)
    if dry_run:
        _would(purge, keep)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    done = purge.run(who())
    purge.sweep()
    if done:
        with begin(site.engine) as conn:
            note(conn, "purge", detail=_said(done))
    click.echo(f"Removed {_said(done)}.")
    if stop.is_set():
        raise click.ClickException("it was stopped before its end; the next purge goes on there")


def _would(purge: Purge, keep: Keep) -> None:
    found, stored = purge.would()
    click.echo(
        f"Would remove the outputs of {found.jobs_emptied} jobs;"
        f" {found.jobs_removed} jobs with {found.host_rows} host rows; {found.audit_rows} audit rows."
    )
    click.echo(f"All outputs take {stored} bytes.")
    if keep.output_bytes is not None and stored > keep.output_bytes:
        click.echo(
            f"That is {stored - keep.output_bytes} more than KEEP_OUTPUT_BYTES; the oldest jobs' would go."
        )


def _said(done: Purged) -> str:
    return (
        f"the outputs of {done.jobs_emptied} jobs ({done.texts} texts, {done.bytes} bytes);"
        f" {done.jobs_removed} jobs with {done.host_rows} host rows; {done.audit_rows} audit rows"
    )
