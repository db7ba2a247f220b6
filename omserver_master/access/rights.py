"""What a person may see and run. Everything that no grant allows is refused.

A viewer sees, an operator runs, an admin does everything. A grant is for one module or all (``*``), on one
function category, one application category, one host, or everywhere. A client key caps the role of whoever
comes through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, false, or_, select

from ..store.grants import ROLES, rights_of
from ..store.jobs import Scope, parts
from ..store.schema import server_app_categ, server_list


@dataclass(frozen=True)
class Person:
    """Somebody who acts, with the role that is left after the cap of the client key."""

    id: int
    name: str
    role: str
    #: When the session ends at the latest, in unix seconds; None without a session.
    expires_at: float | None = None
    #: What was granted when the request came; see `refreshed`.
    grants: tuple[RowMapping, ...] = field(default=(), repr=False, compare=False)


def reaches(role: str, least: str) -> bool:
    """Whether *role* stands at or above *least*."""
    return ROLES.index(role) >= ROLES.index(least)


def load_person(conn: Connection, user: RowMapping) -> Person:
    """The person behind a row of users, with the highest role of their grants (viewer if they have none)."""
    return granted(user["id"], user["name"], rights_of(conn, user["id"]))


def granted(id_: int, name: str, grants: Sequence[RowMapping], expires_at: float | None = None) -> Person:
    """The account *name* with *grants*, and as role the highest of them."""
    highest = max((grant["role"] for grant in grants), key=ROLES.index, default=ROLES[0])
    return Person(id_, name, highest, expires_at, tuple(grants))


def refreshed(conn: Connection, person: Person) -> Person:
    """The person with what is granted by now: for a request that has waited."""
    return replace(person, grants=tuple(rights_of(conn, person.id)))


def effective(person: Person, role_cap: str) -> Person:
    """The person as somebody who comes through a key with *role_cap*."""
    return person if reaches(role_cap, person.role) else replace(person, role=role_cap)


def visible_hosts(person: Person) -> Scope:
    """The ids of the hosts that *person* may see, as a query; None: all of them."""
    return _reached_by(person.grants)


def may_run(conn: Connection, person: Person, module: str, host_ids: Sequence[int]) -> list[int]:
    """Those of *host_ids* on which *person* must not run *module*: all is well if there is none."""
    scope = _reached_by(_running_grants(person, module))
    if scope is None:
        return []
    allowed: set[int] = set()
    for part in parts(host_ids):
        allowed.update(conn.execute(scope.where(server_list.c.ID.in_(part))).scalars())
    return [host_id for host_id in host_ids if host_id not in allowed]


def runnable_modules(person: Person, modules: Iterable[str]) -> set[str]:
    """Those of *modules* that *person* may run on some host."""
    granted = {grant["module"] for grant in _running_grants(person, None)}
    return {module for module in modules if granted & {module, "*"}}


def _running_grants(person: Person, module: str | None) -> list[RowMapping]:
    if not reaches(person.role, "operator"):
        return []
    wanted = None if module is None else {module, "*"}
    return [
        grant
        for grant in person.grants
        if reaches(grant["role"], "operator") and (wanted is None or grant["module"] in wanted)
    ]


def _reached_by(grants: Sequence[RowMapping]) -> Scope:
    places = [_place(grant) for grant in grants]
    if any(place is None for place in places):
        return None
    named = [place for place in places if place is not None]
    return select(server_list.c.ID).outerjoin(server_app_categ).where(or_(false(), *named))


#: What a grant may be limited to.
_PLACES: Final[dict[str, ColumnElement[Any]]] = {
    "host_id": server_list.c.ID,
    "app_id": server_list.c.server_app_id,
    "categ_id": server_app_categ.c.server_categ_id,
}


def _place(grant: RowMapping) -> ColumnElement[bool] | None:
    return next((_PLACES[name].in_([grant[name]]) for name in _PLACES if grant[name] is not None), None)
