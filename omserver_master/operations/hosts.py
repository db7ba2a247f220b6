"""Hosts and the two categories that they are filed under."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from omserver_master.access import rights
from omserver_master.store import engine as store
from omserver_master.store import hosts

from . import views
from .context import Context
from .table import Args, Nothing, Number, operation


class ListHosts(Args):
    """Filters; each narrows the list."""

    categ_id: Number | None = None
    app_id: Number | None = None
    search: str = Field("", max_length=255)
    limit: int = Field(200, ge=1, le=5000)
    offset: Number = 0


@operation("hosts.categories", role="viewer")
def categories(context: Context, args: Nothing) -> dict[str, Any]:
    """Function categories with their application categories, and how many visible hosts each has."""
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(conn, context.who)
        return {"categories": hosts.categories(conn, scope)}


@operation("hosts.list", role="viewer")
def list_hosts(context: Context, args: ListHosts) -> dict[str, Any]:
    """Hosts that this person may see, by name."""
    with store.read(context.site.engine) as conn:
        scope = rights.visible_hosts(conn, context.who)
        rows, total = hosts.list_hosts(conn, scope=scope, **args.model_dump())
    return {"hosts": [views.host(row) for row in rows], "total": total}
