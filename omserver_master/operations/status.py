"""How the site is: database, workers, connections, queue."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from omserver_master.store import connections, jobs, workers
from omserver_master.store import engine as store

from .context import Context
from .table import Nothing, operation


@operation("status", role="viewer")
def status(context: Context, args: Nothing) -> dict[str, Any]:
    """What is up and what is not. That this answers at all says that the database does."""
    with store.read(context.site.engine) as conn:
        counts = jobs.state_counts(conn)
        found = workers.list_workers(conn)
        roads = connections.list_connections(conn)
    return {
        "version": version("omserver"),
        "database": "ok",
        "workers": [{name: row[name] for name in ("name", "machine", "alive", "jobs")} for row in found],
        "connections": [_connection(row) for row in roads],
        "queued": counts.get("queued", 0),
        "running": counts.get("running", 0) + counts.get("cancelling", 0),
    }


def _connection(row: Any) -> dict[str, Any]:
    state = row["state"] if row["enabled"] else "disabled"
    return {
        "name": row["name"],
        "kind": row["kind"],
        "state": state,
        "reason": row["reason"],
        "since": row["since"],
    }
