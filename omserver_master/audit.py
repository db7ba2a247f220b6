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
_TARGETS = ("module", "job", "user", "host")


def done(
    conn: Connection, caller: Caller, person: Person | None, action: str, target: str = "", detail: str = ""
) -> None:
    """Note an action in its own transaction, as its last statement."""
    user = person.name if person else ""
    audit.append(
        conn,
        action=action,
        user=user,
        key=caller.key.name,
        address=caller.address,
        target=target,
        detail=detail,
    )


def refused(
    engine: Engine, caller: Caller, request: Request, refusal: Refused, person: Person | None = None
) -> None:
    """Note a request that was refused, and why. If that cannot be written, the log has it alone."""
    note(
        engine,
        action=request.op,
        user=person.name if person else caller.connection_user or "",
        key=caller.key.name,
        address=caller.address,
        target=_target(request),
        detail=f"{refusal.code}: {refusal.text}",
    )


def note(
    engine: Engine,
    *,
    action: str,
    user: str = "",
    key: str = "",
    address: str = "",
    target: str = "",
    detail: str = "",
) -> None:
    """Note something that was refused and changed nothing."""
    fields = {"user": user, "key": key, "address": address, "target": target, "detail": detail}
    try:
        transact(engine, lambda conn: audit.append(conn, action=action, outcome="refused", **fields))
    except Unavailable as error:
        log.error("the audit row of a refused %s by %s was not written: %s", action, user or key, error)


def _target(request: Request) -> str:
    named = (request.args.get(name) for name in _TARGETS)
    return next((str(value) for value in named if isinstance(value, str | int)), "")
