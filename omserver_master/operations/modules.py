"""The numbered modules, as people and programs may see them."""

from __future__ import annotations

from typing import Any

from omserver_master.access import rights

from .context import Context
from .table import Args, Nothing, operation


class ModuleId(Args):
    """One module by its number."""

    module: str


@operation("modules.list", role="viewer")
def list_modules(context: Context, args: Nothing) -> dict[str, Any]:
    """All modules, broken ones too, each with whether this person may run it anywhere."""
    modules = context.site.registry.list()
    may = rights.runnable_modules(context.who, [module.id for module in modules])
    return {"modules": [module.to_wire() | {"runnable": module.id in may} for module in modules]}


@operation("modules.show", role="viewer")
def show_module(context: Context, args: ModuleId) -> dict[str, Any]:
    """One module with its source's hash."""
    module = context.site.registry.load(args.module)
    may = rights.runnable_modules(context.who, [module.id])
    return module.to_wire() | {"runnable": module.id in may, "source_sha256": module.sha256}
