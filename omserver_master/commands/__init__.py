"""The command ``omserver``: what a site's administrator runs on the master's machine.

Each subcommand is the ``command`` of the file of its name in this folder, imported when it is called: the
help of `omserver` itself needs none of them.
"""

from __future__ import annotations

from importlib import import_module

import click

from omserver_client.errors import BadRequest, OMServerError

#: Every subcommand and its line in the help.
COMMANDS = {
    "demo": "Run everything on this machine, with three real Salt minions.",
    "master": "Run the master: what the console, omctl and programs talk to.",
    "worker": "Run one worker process that carries out jobs.",
    "celery": "Run workers on this machine that masters elsewhere ring through Celery.",
    "web": "Run the web console.",
    "user": "Add people, say what they may do, give them a new password.",
    "key": "Make, list and revoke the keys of programs that call the master.",
    "connection": "Add, change, list and try the ways to hosts.",
    "host": "Add, change and list the hosts that modules run on.",
    "tls": "Make a private certificate authority, for callers on other machines.",
    "db": "Bring the database to this version, fill it, check it.",
    "audit": "Verify the chain of audit rows.",
    "backup": "Write the database into one file, while everything runs.",
    "restore": "Bring a backup into an empty database.",
    "purge": "Remove outputs, jobs and audit rows that need not be kept any longer.",
    "doctor": "Look at everything that must be right, and say what to do.",
}


class _Lazy(click.Group):
    """A group that knows its commands' names and help, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __name__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BadRequest as error:
            raise click.UsageError(str(error)) from error
        except OMServerError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="omserver")
def main() -> None:
    """Run numbered modules on hosts. Exit codes: 0 good, 1 failed, 2 wrong usage.

    Settings come from config.py and from the environment (OMSERVER_HOME, ...): docs/configuration.md.
    """
