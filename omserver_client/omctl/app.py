"""The commands of omctl, and how each of them ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click

from ..errors import NotReached, OMServerError, Refused
from . import ends, enroll, host, hosts, jobs, login, modules, run_module, status, ways
from .visible import visible_line

#: What to look at when the master was not reached.
_WHERE = "The address is that of omctl enroll, unless OMSERVER_RPYC_HOST or OMSERVER_RPYC_PORT says another."
#: What to do about a refusal, by its code.
_ADVICE = {
    "login_required": "Log in first: omctl login",
    "session_expired": "Log in again: omctl login",
    "unknown_module": "omctl modules lists them.",
    "unknown_host": "omctl hosts lists them.",
    "invalid_param": "omctl modules ID shows its parameters.",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="omserver", prog_name="omctl")
def cli() -> None:
    """Run numbered modules on many hosts, and see what happened on each of them.

    Exit codes: 0 all ok, 1 some failed, 2 refused or wrong usage, 3 some unreachable, 4 some timed out,
    5 some unknown, 6 cancelled, expired, interrupted or not started, 7 master not reached, 130 no longer
    watched. Of several, the first of 5, 1, 4, 3, 6.
    """


for _command in (
    login.login,
    login.logout,
    login.whoami,
    modules.modules,
    hosts.hosts,
    host.host,
    run_module.run,
    jobs.jobs,
    jobs.job,
    status.status,
    ways.connection,
    enroll.enroll,
):
    cli.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command and answer its exit code; every error is one line on standard error."""
    as_json = "--json" in arguments
    try:
        return _invoke(arguments)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _end_of_usage_error(error)
    except (click.Abort, KeyboardInterrupt, EOFError):
        return _complain("Interrupted.", ends.INTERRUPTED)
    except NotReached as error:
        return _explain(error, f"{error} {_WHERE}", as_json)
    except OMServerError as error:
        return _explain(error, _with_advice(error), as_json)
    except BrokenPipeError:
        # The reader of our output went away: nothing more is flushed to it. A job goes on, as after Ctrl-C.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ends.INTERRUPTED
    except OSError as error:
        return _complain(str(error), ends.REFUSED)


def _invoke(arguments: Sequence[str]) -> int:
    # Not cli.main(): that ends with 1 when a pipe is closed, which would mean that a host has failed.
    with cli.make_context("omctl", list(arguments)) as context:
        code = int(cli.invoke(context) or ends.OK)
        sys.stdout.flush()
        return code


def _end_of_usage_error(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f" {context.command_path} --help shows how." if context else ""
    return _complain(error.format_message() + hint, ends.REFUSED)


def _with_advice(error: OMServerError) -> str:
    text, advice = str(error), _ADVICE.get(getattr(error, "code", ""), "")
    full_stop = "" if not advice or text.endswith((".", "!", "?")) else "."
    return f"{text}{full_stop} {advice}"


def _explain(error: OMServerError, text: str, as_json: bool) -> int:
    if as_json:
        code = "not_reached" if isinstance(error, NotReached) else getattr(error, "code", "error")
        details = error.details if isinstance(error, Refused) else {}
        print(json.dumps({"error": {"code": code, "text": str(error), "details": details}}))
    return _complain(text, ends.NOT_REACHED if isinstance(error, NotReached) else ends.REFUSED)


def _complain(text: str, code: int) -> int:
    print(f"omctl: {visible_line(text.strip())}", file=sys.stderr)
    return code
