"""Writing down who did what, from which address and by which program."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, Engine

from omserver_client.errors import Refused, Unavailable
from omserver_client.messages import Request

from .access.rights import Person
from .caller import Caller
from .store import audit
from .store.engine import transact

log = logging.getLogger(__name__)

#: Arguments that say what a request was about; others may hold what must not be written down.
_TARGETS = ("module", "job", "user", "host", "connection")


def accepted(
    conn: Connection, caller: Caller, person: Person | None, action: str, target: str = "", detail: str = ""
) -> None:
    """Note an action in its own transaction, as its last statement."""
    audit.append(
        conn,
        action=action,
        user=person.name if person else "",
        key=caller.key.name,
        address=caller.address,
        target=target,
        detail=detail,
    )


def by_itself(conn: Connection, user: str, key: str, action: str, target: str, detail: str) -> None:
    """Note what the master does in the name of *user* without being asked again; nobody's address."""
    audit.append(conn, action=action, user=user, key=key, address="", target=target, detail=detail)


def refused(
    engine: Engine, caller: Caller, request: Request, refusal: Refused, person: Person | None = None
) -> None:
    """Note a request that was refused, and why. If that cannot be written, the log has it alone."""
    _note(
        engine,
        action=request.op,
        outcome="refused",
        user=person.name if person else caller.connection_user or "",
        key=caller.key.name,
        address=caller.address,
        target=_target(request),
        detail=f"{refusal.code}: {refusal.text}",
    )


def login(engine: Engine, user: str, address: str, outcome: str) -> None:
    """Note a login through the remote name of 2014; *outcome* is ``ok`` or the code of the refusal."""
    verdict = "ok" if outcome == "ok" else "refused"
    _note(engine, action="login", outcome=verdict, user=user, address=address, detail=outcome)


def unopened(engine: Engine, address: str, kid: str, reason: str) -> None:
    """Note a sealed message that could not be opened; *kid* is the key's number that it named."""
    _note(engine, action="seal", outcome="refused", key=kid, address=address, detail=reason)


def _note(engine: Engine, **fields: str) -> None:
    try:
        transact(engine, lambda conn: audit.append(conn, **fields))
    except Unavailable as error:
        log.error("the audit row %s was not written: %s", fields, error)


def _target(request: Request) -> str:
    named = (request.args.get(name) for name in _TARGETS)
    return next((str(value) for value in named if isinstance(value, str | int)), "")
