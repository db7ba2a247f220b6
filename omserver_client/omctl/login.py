"""``omctl login``, ``logout``, ``whoami``: who acts."""

from __future__ import annotations

import sys

import click

from ..errors import LoginRequired, SessionExpired
from .connection import master, profile_and_login
from .saved import SavedLogin, forget_login, save_login
from .show import json_option, local_time, print_json

_LONGEST_PASSWORD = 1024


@click.command()
@click.argument("user", required=False)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
def login(user: str | None, password_stdin: bool, as_json: bool) -> None:
    """Log in; only you can read the session kept."""
    user = user or _ask_user(password_stdin)
    password = _password(password_stdin)
    profile, _ = profile_and_login()
    with master(anonymous=True) as client:
        answer = client.login(user, password)
    save_login(SavedLogin(answer["user"], profile.address, answer["session"]))
    shown = {name: answer[name] for name in ("user", "role", "expires_at")}
    if as_json:
        print_json(shown)
    else:
        click.echo(
            f"Logged in as {shown['user']} ({shown['role']}), until {local_time(shown['expires_at'])}."
        )


@click.command()
@json_option
def logout(as_json: bool) -> None:
    """End the session, here and at the master."""
    _, saved = profile_and_login()
    if saved is not None:
        try:
            with master() as client:
                client.logout()
        except (LoginRequired, SessionExpired):
            pass  # it was over already
        finally:
            forget_login()
    if as_json:
        print_json({})
    else:
        click.echo("Logged out." if saved else "Nobody was logged in.")


@click.command()
@json_option
def whoami(as_json: bool) -> None:
    """Show as whom the master knows you."""
    with master() as client:
        answer = client.whoami()
    if as_json:
        print_json(answer)
        return
    until = f", until {local_time(answer['expires_at'])}" if answer.get("expires_at") else ""
    click.echo(f"{answer['user'] or 'nobody'} ({answer['role']}), with the key {answer['key']}{until}")


def _ask_user(password_stdin: bool) -> str:
    if password_stdin or not sys.stdin.isatty():
        raise click.UsageError("Name the user: omctl login USER.")
    return str(click.prompt("User"))


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline(_LONGEST_PASSWORD).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for the password on; use --password-stdin.")
    return str(click.prompt("Password", hide_input=True))
