"""Hosts brought in from an engine's own list or from a file: first a preview, then exactly that."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection

from omserver_client.errors import BadRequest, NotFound, PreviewOutdated, Unavailable
from omserver_master import audit
from omserver_master.backends import ConnectionDown, NoInventory, apart
from omserver_master.errors import SiteKeyError
from omserver_master.roster import ways
from omserver_master.roster.applying import carry_out, load_world
from omserver_master.roster.csvfile import read_csv
from omserver_master.roster.incoming import MOST_ROWS, Incoming, from_engine
from omserver_master.roster.kept import Preview
from omserver_master.roster.plan import STATUSES, Options, Plan, PlanRow, make_plan
from omserver_master.store import connections
from omserver_master.store import engine as store

from .context import Context
from .table import Args, Number, operation

#: Seconds that an engine gets to tell of its hosts.
INVENTORY_SECONDS = 30.0
#: Names in an audit row.
_NAMED = 50


class NewPreview(Args):
    """Where hosts come from, either *source* (a connection) or *csv* (base64); what new ones get."""

    source: str | None = Field(None, max_length=255)
    csv: str | None = Field(None, max_length=16_000_000, repr=False)
    title: str = Field("", max_length=255)
    categ: str = Field("", max_length=255)
    app: str = Field("", max_length=255)
    state: Literal["new", "in_service", "maintenance"] = "in_service"
    connection: str = Field("", max_length=255)
    groups: Literal["", "app", "categ"] = ""
    limit: int = Field(500, ge=0, le=5000)


class Rows(Args):
    """Some rows of a preview."""

    token: str = Field(max_length=64)
    status: Literal["", "new", "changed", "same", "conflict", "refused", "missing"] = ""
    search: str = Field("", max_length=255)
    limit: int = Field(500, ge=1, le=5000)
    offset: Number = 0


class Token(Args):
    """A preview; with *digest* only if it would do just that."""

    token: str = Field(max_length=64)
    digest: str | None = Field(None, max_length=64)


@operation("import.preview", role="admin")
def preview(context: Context, args: NewPreview) -> dict[str, Any]:
    """What an import would do, and a token to see more of it and to apply it by; nothing is changed."""
    options = Options(args.categ, args.app, args.state, args.connection)
    title = args.title or args.source or "CSV"
    rows = _rows(context, args)
    with store.read(context.site.engine) as conn:
        _known(conn, args.connection)
        plan = make_plan(rows, load_world(conn), options, args.source)
    kept = Preview(context.who.id, title, args.source, rows, options, plan)
    token = context.site.previews.keep(kept)
    return _head(token, kept) | {"rows": [_row(row) for row in _telling(plan.rows)[: args.limit]]}


@operation("import.rows", role="admin")
def rows_of(context: Context, args: Rows) -> dict[str, Any]:
    """Rows of a preview, those of one status perhaps, by their place."""
    kept = context.site.previews.find(args.token, context.who.id)
    word = args.search.lower()
    found = [
        row
        for row in kept.plan.rows
        if args.status in ("", row.status) and (word in row.name.lower() or word in row.reason.lower())
    ]
    page = found if args.status else _telling(found)
    shown = [_row(row) for row in page[args.offset : args.offset + args.limit]]
    return _head(args.token, kept) | {"rows": shown, "found": len(found)}


@operation("import.apply", role="admin")
def apply(context: Context, args: Token) -> dict[str, Any]:
    """Do exactly what the preview says; if that has changed meanwhile, nothing, and tell the new one."""
    site = context.site
    kept = site.previews.find(args.token, context.who.id)
    if args.digest not in (None, kept.plan.digest):
        raise PreviewOutdated("This is not the preview that was meant.", **_head(args.token, kept))
    newer = store.transact(site.engine, lambda conn: _apply(context, conn, kept))
    site.previews.forget(args.token)
    if newer is not None:
        again = Preview(kept.user_id, kept.title, kept.source, kept.rows, kept.options, newer)
        raise PreviewOutdated(**_head(site.previews.keep(again), again))
    return {"counts": dict(kept.plan.counts)}


def _apply(context: Context, conn: Connection, kept: Preview) -> Plan | None:
    """Apply what is kept, or answer what it would do now where that is something else."""
    world = load_world(conn)
    plan = make_plan(kept.rows, world, kept.options, kept.source)
    if plan.digest != kept.plan.digest:
        return plan
    carry_out(conn, plan, world)
    added, changed = ([row.name for row in plan.rows if row.status == word] for word in ("new", "changed"))
    detail = f"{len(added)} added, {len(changed)} changed: {', '.join((added + changed)[:_NAMED])}"
    audit.accepted(conn, context.caller, context.who, "import.apply", kept.title, detail)
    return None


def _rows(context: Context, args: NewPreview) -> list[Incoming]:
    if (args.source is None) == (args.csv is None):
        raise BadRequest("Say where the hosts come from: a connection or a CSV file.", field="source")
    if args.csv is not None:
        try:
            return read_csv(base64.b64decode(args.csv, validate=True), args.connection)
        except binascii.Error as error:
            raise BadRequest("The file must be sent as base64.", field="csv") from error
    assert args.source is not None
    return _ask(context, args.source, args.groups)


def _ask(context: Context, name: str, groups: str) -> list[Incoming]:
    with store.read(context.site.engine) as conn:
        row = connections.connection_by_name(conn, name)
    if row is None:
        raise NotFound(f"There is no connection {name!r}.")
    ways.check_here(row, context.site.settings.machine, "source")
    try:
        settings = connections.full_settings(context.site.site_key, row)
        found = apart.inventory(row["kind"], name, settings, INVENTORY_SECONDS)
    except NoInventory as error:
        raise BadRequest(str(error), field="source") from error
    except (ConnectionDown, apart.EngineTrouble, ValueError, SiteKeyError) as error:
        raise Unavailable(f"{name}: {error}") from error
    if len(found) > MOST_ROWS:
        raise BadRequest(
            f"{name} tells of {len(found)} hosts; {MOST_ROWS} are taken at once.", field="source"
        )
    return from_engine(name, found, groups)


def _known(conn: Connection, connection: str) -> None:
    if connection and connections.connection_by_name(conn, connection) is None:
        raise BadRequest(f"There is no connection {connection!r}.", field="connection")


def _telling(rows: Sequence[PlanRow]) -> list[PlanRow]:
    """*rows* with those first that need somebody's eye."""
    order = {status: place for place, status in enumerate(("conflict", "refused", "changed", "new"))}
    return sorted(rows, key=lambda row: order.get(row.status, len(STATUSES)))


def _head(token: str, kept: Preview) -> dict[str, Any]:
    counts = dict(kept.plan.counts)
    total = sum(counts.values())
    return {"token": token, "digest": kept.plan.digest, "title": kept.title, "counts": counts, "total": total}


def _row(row: PlanRow) -> dict[str, Any]:
    changes = [{"field": each.field, "old": each.old, "new": each.new} for each in row.changes]
    plain = {name: getattr(row, name) for name in ("number", "status", "name", "reason", "host_id")}
    return plain | {"changes": changes}
