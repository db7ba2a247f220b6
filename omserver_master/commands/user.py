"""`omserver user`: people, what they may do, and new passwords."""

from __future__ import annotations

import sys

import click
from sqlalchemy import Connection, RowMapping, select

from omserver_client.errors import BadRequest

from ..access import passwords
from ..store import grants, hosts, sessions, users
from ..store.engine import begin, read
from ..store.schema import server_app_categ, server_fun_categ
from .localsite import note, open_site, show_table

_FROM_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
)
_ROLE = click.Choice(grants.ROLES)


@click.group()
def command() -> None:
    """Add people, say what they may do, give them a new password."""


@command.command()
@click.argument("name")
@click.option("--role", type=_ROLE, help="On every host and module. Without: nothing yet.")
@_FROM_STDIN
def add(name: str, role: str | None, password_stdin: bool) -> None:
    """Add the person NAME. An invented password is shown once."""
    site = open_site()
    password, invented = _new_password(name, password_stdin)
    stored = passwords.hash_password(password)
    with begin(site.engine) as conn:
        user_id = users.add_user(conn, name, stored)
        if role:
            grants.add_grant(conn, user_id, role)
        note(conn, "user.add", name, f"role {role or 'none'}")
    _show_password(password, invented)


@command.command("list")
def list_() -> None:
    """List everybody, with their grants."""
    site = open_site()
    with read(site.engine) as conn:
        rows = [_line(conn, user) for user in users.list_users(conn)]
    show_table(("USER", "STATE", "GRANTS (number: role, module, where)"), rows)


@command.command("set-role")
@click.argument("name")
@click.argument("role", type=_ROLE)
def set_role(name: str, role: str) -> None:
    """Give NAME the ROLE on every host and module, in place of the one before."""
    with begin(open_site().engine) as conn:
        grants.set_role(conn, _user(conn, name)["id"], role)
        note(conn, "user.set-role", name, role)


@command.command()
@click.argument("name")
@click.argument("role", type=_ROLE)
@click.option("--module", default="*", metavar="ID", help="One module; without: all of them.")
@click.option("--categ", metavar="NAME", help="Hosts of this function category.")
@click.option("--app", metavar="NAME", help="Hosts of this application category.")
@click.option("--host", metavar="NAME", help="This host.")
def grant(name: str, role: str, module: str, categ: str | None, app: str | None, host: str | None) -> None:
    """Let NAME act in ROLE for a module, on the hosts of a category, on one host, or everywhere."""
    site = open_site()
    with begin(site.engine) as conn:
        place = {
            "categ_id": _id(conn, "categ", categ),
            "app_id": _id(conn, "app", app),
            "host_id": _id(conn, "host", host),
        }
        number = grants.add_grant(conn, _user(conn, name)["id"], role, module, **place)
        if module != "*" and not (site.settings.modules_dir / f"Mid_{module}.py").is_file():
            raise BadRequest(f"There is no module {module!r}.", field="module")
        note(conn, "user.grant", name, f"{number}: {role} {module} {categ or app or host or 'everywhere'}")
    click.echo(f"Granted, as number {number}.")


@command.command()
@click.argument("number", type=int)
def ungrant(number: int) -> None:
    """Take back the grant with that NUMBER (see `omserver user list`)."""
    with begin(open_site().engine) as conn:
        if not grants.remove_grant(conn, number):
            raise click.UsageError(f"There is no grant {number}.")
        note(conn, "user.ungrant", str(number))


@command.command()
@click.argument("name")
def disable(name: str) -> None:
    """Lock NAME out, at once."""
    _set_disabled(name, True)


@command.command()
@click.argument("name")
def enable(name: str) -> None:
    """Let NAME in again."""
    _set_disabled(name, False)


@command.command("reset-password")
@click.argument("name")
@_FROM_STDIN
def reset_password(name: str, password_stdin: bool) -> None:
    """Give NAME a new password and end all sessions. An invented password is shown once."""
    site = open_site()
    password, invented = _new_password(name, password_stdin)
    stored = passwords.hash_password(password)
    with begin(site.engine) as conn:
        user_id = _user(conn, name)["id"]
        users.set_password(conn, user_id, stored)
        sessions.revoke_all(conn, user_id)
        note(conn, "user.reset-password", name)
    _show_password(password, invented)


def _new_password(name: str, from_stdin: bool) -> tuple[str, bool]:
    if not from_stdin:
        return passwords.invent(), True
    password = sys.stdin.readline().rstrip("\r\n")
    passwords.refuse_weak(name, password)
    return password, False


def _show_password(password: str, invented: bool) -> None:
    if invented:
        click.echo("The password, shown this once:", err=True)
        click.echo(password)


def _set_disabled(name: str, disabled: bool) -> None:
    with begin(open_site().engine) as conn:
        user_id = _user(conn, name)["id"]
        if disabled and _is_last_admin(conn, user_id):
            raise BadRequest(f"{name} is the only admin; make another one first.", field="user")
        users.set_disabled(conn, user_id, disabled)
        if disabled:
            sessions.revoke_all(conn, user_id)
        note(conn, "user.disable" if disabled else "user.enable", name)
    click.echo(
        f"{name} is locked out, and all sessions are over." if disabled else f"{name} may log in again."
    )


def _is_last_admin(conn: Connection, user_id: int) -> bool:
    active = [row["id"] for row in users.list_users(conn) if not row["disabled"]]
    admins = [id_ for id_ in active if any(g["role"] == "admin" for g in grants.grants_of(conn, id_))]
    return admins == [user_id]


def _user(conn: Connection, name: str) -> RowMapping:
    row = users.user_by_name(conn, name)
    if row is None:
        raise BadRequest(f"There is no user {name!r}.", field="user")
    return row


def _id(conn: Connection, kind: str, name: str | None) -> int | None:
    if name is None:
        return None
    found = _ids(conn, kind, name)
    if len(found) != 1:
        problem = "There is no" if not found else "There is more than one"
        raise BadRequest(f"{problem} {kind} {name!r}.", field=kind)
    return found[0]


def _ids(conn: Connection, kind: str, name: str) -> list[int]:
    if kind == "host":
        return [row["id"] for row in hosts.hosts_by_name(conn, [name]).values()]
    queries = {
        "categ": select(server_fun_categ.c.ID).where(server_fun_categ.c.server_categ_name == name),
        "app": select(server_app_categ.c.ID).where(server_app_categ.c.app_categ_name == name),
    }
    return list(conn.execute(queries[kind]).scalars())


def _line(conn: Connection, user: RowMapping) -> tuple[str, str, str]:
    given = [_grant(row) for row in grants.grants_of(conn, user["id"])]
    return user["name"], "disabled" if user["disabled"] else "active", "; ".join(given) or "none"


def _grant(row: RowMapping) -> str:
    where = row["categ"] or row["app"] or row["host"] or "everywhere"
    module = "every module" if row["module"] == "*" else f"module {row['module']}"
    return f"{row['id']}: {row['role']}, {module}, {where}"
