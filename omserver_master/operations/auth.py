"""Signing in and out, and who one is."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from omserver_client.errors import LoginFailed, LoginRequired
from omserver_master import audit
from omserver_master.access import passwords, rights, sessions
from omserver_master.store import engine as store
from omserver_master.store import jobs, users
from omserver_master.store import sessions as session_store

from .context import Context
from .table import Args, Nothing, operation


class Login(Args):
    user: str = Field(max_length=255)
    password: str = Field(max_length=1024, repr=False)


class NewPassword(Args):
    old: str = Field(max_length=1024, repr=False)
    new: str = Field(max_length=1024, repr=False)


class WhoAmI(Args):
    #: Whether to answer, too, how many jobs are paused.
    paused: bool = False


@operation("auth.login", role=None)
def login(context: Context, args: Login) -> dict[str, Any]:
    """Open a session; its token stands for this person through this client key only."""
    site, caller = context.site, context.caller
    row = sessions.check_login(site.engine, site.throttle, args.user, args.password, caller.address)
    with store.begin(site.engine) as conn:
        opened = sessions.open_session(conn, row["id"], caller.key.kid)
        person = rights.effective(rights.load_person(conn, row), caller.key.role_cap)
        audit.accepted(conn, caller, person, "auth.login", person.name)
    return {
        "session": opened.token,
        "user": person.name,
        "role": person.role,
        "expires_at": opened.expires_at,
        "idle_seconds": opened.idle_seconds,
    }


@operation("auth.logout", role="viewer")
def logout(context: Context, args: Nothing) -> dict[str, Any]:
    """End the session that this request came with."""
    token = context.caller.session_token
    if token is None:
        raise LoginRequired("There is no session to end.")
    with store.begin(context.site.engine) as conn:
        sessions.close_session(conn, token)
        audit.accepted(conn, context.caller, context.who, "auth.logout", context.who.name)
    return {}


@operation("auth.whoami", role="viewer")
def whoami(context: Context, args: WhoAmI) -> dict[str, Any]:
    """Who acts in this request, and with which role."""
    person = context.who
    answer = {
        "user": person.name,
        "role": person.role,
        "key": context.caller.key.name,
        "expires_at": person.expires_at,
    }
    if args.paused:
        with store.read(context.site.engine) as conn:
            answer["paused"] = jobs.count_in_state(conn, "paused", rights.visible_hosts(person))
    return answer


@operation("auth.password", role="viewer")
def change_password(context: Context, args: NewPassword) -> dict[str, Any]:
    """Change one's own password; all other sessions of the account end."""
    site, caller, person = context.site, context.caller, context.who
    if caller.session_token is None:
        raise LoginRequired("Sign in to change your password.")
    row = sessions.check_login(site.engine, site.throttle, person.name, args.old, caller.address)
    if row["id"] != person.id:
        raise LoginFailed
    passwords.refuse_weak(person.name, args.new)
    hashed = passwords.hash_password(args.new)
    with store.begin(site.engine) as conn:
        users.set_password(conn, person.id, hashed)
        session_store.revoke_all(conn, person.id, but=sessions.hash_token(caller.session_token))
        audit.accepted(conn, caller, person, "auth.password", person.name)
    return {}
