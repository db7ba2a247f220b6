"""Request in, reply out. No socket and no seal is known here."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from omserver_client.errors import BadRequest, Forbidden, InternalError, LoginRequired, Refused
from omserver_client.messages import Reply, Request

from . import audit, operations
from .access import sessions
from .access.rights import Person, reaches
from .caller import Caller
from .operations.context import Context, Site
from .operations.table import Args, Operation

log = logging.getLogger(__name__)


#: A form that is being filled in asks with every change: only what somebody may not do is worth an audit row.
TRIES = frozenset({"job.preview"})


class Dispatcher:
    """Answers requests for one site.

    Every refusal leaves a log line and an audit row (of `TRIES` only some); whatever happens, the caller
    gets a reply.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._table = operations.table()

    def dispatch(self, request: Request, caller: Caller) -> Reply:
        """Run one request on behalf of whoever stands behind it."""
        person: Person | None = None
        try:
            operation = self._operation(request)
            person = self._person(operation, caller)
            _check_role(operation, person)
            args = _read(operation, request)
            return Reply(
                request.id, ok=operation.function(Context(self._site, request, caller, person), args)
            )
        except Refused as refusal:
            log.info("refused %s from %s (%s): %s", request.op, caller.address, caller.key.name, refusal)
            if request.op not in TRIES or isinstance(refusal, Forbidden):
                audit.refused(self._site.engine, caller, request, refusal, person)
            return Reply.refusing(request.id, refusal)
        except Exception:
            log.exception("request %s (%s) failed", request.id, request.op)
            return Reply.refusing(request.id, InternalError(request=request.id))

    def _operation(self, request: Request) -> Operation:
        operation = self._table.get(request.op)
        if operation is None:
            raise BadRequest(f"There is no operation {request.op!r}.", field="op")
        return operation

    def _person(self, operation: Operation, caller: Caller) -> Person | None:
        if operation.role is None:
            return None
        person = sessions.who_acts(self._site.engine, caller)
        if person is None:
            raise LoginRequired()
        return person


def _check_role(operation: Operation, person: Person | None) -> None:
    if person is not None and operation.role is not None and not reaches(person.role, operation.role):
        raise Forbidden(f"{person.name} is a {person.role} here; this needs the role {operation.role}.")


def _read(operation: Operation, request: Request) -> Args:
    try:
        return operation.args.model_validate(request.args)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{field or 'arguments'}: {first['msg']}.", field=field) from error
