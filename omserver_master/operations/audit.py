"""The audit trail, for those who may read it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from omserver_master.store import audit
from omserver_master.store import engine as store

from .context import Context
from .table import Args, Number, operation


class ListAudit(Args):
    limit: int = Field(100, ge=1, le=1000)
    before: Number | None = None
    user: str | None = None
    action: str | None = None


@operation("audit.list", role="admin")
def list_audit(context: Context, args: ListAudit) -> dict[str, Any]:
    """The newest events first."""
    wanted = args.model_dump(exclude={"limit"})
    with store.read(context.site.engine) as conn:
        rows = audit.list_audit(conn, limit=args.limit + 1, **wanted)
    names = ["id", "time", "user", "key", "address", "action", "target", "outcome", "detail"]
    page = [{name: row[name] for name in names} for row in rows[: args.limit]]
    return {"rows": page, "more": len(rows) > args.limit}
