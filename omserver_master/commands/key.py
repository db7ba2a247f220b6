"""`omserver key`: the keys of programs that call the master."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from omserver_client.errors import BadRequest
from omserver_client.keyfile import BadKeyFile

from ..access.keys import create_key
from ..store import grants, keys, users
from ..store.engine import begin, read
from .localsite import note, open_site, show_table


@click.group()
def command() -> None:
    """Make, list and revoke the keys of programs that call the master."""


@command.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(grants.ROLES),
    default="operator",
    show_default=True,
    help="The most that anybody may do through this key.",
)
@click.option("--service-user", metavar="USER", help="Who the program is while nobody is logged in.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The key file to write.")
def create(name: str, role: str, service_user: str | None, out: Path | None) -> None:
    """Make a key for the program NAME, and write its file (default: NAME.key in the data folder's keys/)."""
    site = open_site()
    file = out or site.settings.home / "keys" / f"{name}.key"
    with begin(site.engine) as conn:
        user = users.user_by_name(conn, service_user) if service_user else None
        if service_user and user is None:
            raise BadRequest(f"There is no user {service_user!r}.", field="service-user")
        note(conn, "key.create", name, f"role {role}, service user {service_user or 'none'}")
        try:
            create_key(conn, site.site_key, name, file, role, user["id"] if user else None)
        except BadKeyFile as error:
            raise click.UsageError(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"{file} cannot be written: {error.strerror}.") from error
    click.echo(file)


@command.command("list")
def list_() -> None:
    """List all keys; secrets are never shown."""
    with read(open_site().engine) as conn:
        rows = [
            (
                row["name"],
                row["kid"],
                row["state"],
                row["role_cap"],
                row["service_user"] or "-",
                _day(row["created"]),
                _day(row["last_used"]),
            )
            for row in keys.list_keys(conn)
        ]
    show_table(("NAME", "NUMBER", "STATE", "AT MOST", "SERVICE USER", "CREATED", "LAST USED"), rows)


@command.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the key NAME: its next message is refused."""
    with begin(open_site().engine) as conn:
        if not keys.revoke_key(conn, name):
            raise BadRequest(f"There is no active key {name!r}.", field="name")
        note(conn, "key.revoke", name)
    click.echo(f"{name} is revoked; its key files are of no use any more.")


def _day(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d")
