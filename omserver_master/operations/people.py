"""People and what they are granted."""

from __future__ import annotations

from typing import Any

from omserver_master.access.rights import load_person
from omserver_master.store import engine as store
from omserver_master.store import grants, users

from .context import Context
from .table import Nothing, operation


@operation("people.list", role="admin")
def list_people(context: Context, args: Nothing) -> dict[str, Any]:
    """All accounts with their grants."""
    with store.read(context.site.engine) as conn:
        found = [_person(conn, row) for row in users.list_users(conn)]
    return {"people": found}


def _person(conn: Any, row: Any) -> dict[str, Any]:
    names = ["role", "module", "categ", "app", "host"]
    return {
        "user": row["name"],
        "role": load_person(conn, row).role,
        "disabled": row["disabled"],
        "last_login": row["last_login"],
        "grants": [{name: grant[name] for name in names} for grant in grants.grants_of(conn, row["id"])],
    }
