"""The roll-out that a job gets: what was asked for and what its module says, checked against its hosts.

Categories change, so who must not be in one batch with whom is written down with the job.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import RowMapping

from omserver_client.errors import BadRequest, Forbidden
from omserver_master.contract.rollout import (
    RolloutMistake,
    check_at_once,
    check_together,
    loosened,
    read_rollout,
)
from omserver_master.registry.moduleinfo import ModuleInfo

#: Written down for the worker, not for people.
HIDDEN: Final = frozenset({"first", "groups"})
_BY_LABEL = "label:"
_FLAGS = {"ask": "--ask", "unreachable_counts": "--stop-after-unreachable"}


def freeze(
    wanted: Mapping[str, Any] | None,
    module: ModuleInfo,
    rows: Sequence[RowMapping],
    *,
    may_loosen: bool,
    dry_run: bool,
    for_these: bool = True,
    labels_of: Callable[[Sequence[int]], Mapping[int, Mapping[str, str]]],
) -> dict[str, Any] | None:
    """The options of a job on the hosts *rows*, complete; None where it begins on all of them at once.

    A dry run changes nothing, so it heeds only what was asked for; *for_these* says whether that was for just
    these hosts, where a spread has to mean something. *labels_of* answers the labels of hosts by
    their ids; it is asked only where they matter.

    Raises:
        BadRequest: an option is not what it may be, has no effect, or names a host that is not in the job.
        Forbidden: an option is laxer than the module's own.
    """
    defaults = {} if dry_run else module.rollout
    try:
        options = {**defaults, **read_rollout(wanted or {})}
        check_together(options)
    except RolloutMistake as mistake:
        raise _refused(mistake.option, str(mistake)) from mistake
    if not any(options.values()):
        return None
    if module.direct and not module.driven:
        raise _refused("", f"module {module.id} reaches its hosts by itself, so it can't go by batches")
    laxer = "" if may_loosen else loosened(defaults, options, len(rows))
    if laxer:
        text = f"rollout: {laxer} is laxer than module {module.id} says; that needs the role admin."
        raise Forbidden(text, field=f"rollout.{laxer}", module=module.id)
    spread = options.get("spread")
    labels = labels_of([row["id"] for row in rows]) if str(spread).startswith(_BY_LABEL) else {}
    frozen = options | _of_hosts(options, rows, labels)
    if for_these:
        _check_spread(wanted or {}, frozen, labels)
    return frozen


def _check_spread(
    wanted: Mapping[str, Any], frozen: Mapping[str, Any], labels: Mapping[int, Mapping[str, str]]
) -> None:
    """Refuse what would have no effect, since spread keeps none of these hosts apart; a module's own may."""
    label = str(wanted.get("spread") or "").removeprefix(_BY_LABEL)
    if wanted.get("spread") and labels and not any(label in mine for mine in labels.values()):
        raise _refused("spread", f"none of these hosts has the label {label}")
    if frozen.get("groups") == [] and not frozen.get("batch") and not frozen.get("canary"):
        try:
            check_at_once(wanted)
        except RolloutMistake as mistake:
            text = f"{mistake}, and spread keeps no two of these hosts apart"
            raise _refused(mistake.option, text) from mistake


def words(options: Mapping[str, Any] | None) -> list[str]:
    """The options as ``omctl run`` takes them."""
    found: list[str] = []
    for name, value in shown(options or {}).items():
        if name in _FLAGS:
            found += [_FLAGS[name]] if value else []
        elif name == "canary":
            found += [word for host in value for word in ("--canary", host)]
        elif name == "spread" and not isinstance(value, str):
            found += [word for group in value for word in ("--spread", ",".join(group))]
        else:
            found += [f"--{name.replace('_', '-')}", str(value)]
    return found


def shown(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as people see them."""
    return {name: value for name, value in options.items() if name not in HIDDEN}


def in_words(options: Mapping[str, Any]) -> str:
    """The options in one line, for the audit."""
    return shlex.join(words(options))


def _of_hosts(
    options: Mapping[str, Any], rows: Sequence[RowMapping], labels: Mapping[int, Mapping[str, str]]
) -> dict[str, Any]:
    """The ids of the hosts that *options* name, and the canary by its names."""
    found: dict[str, Any] = {}
    if "canary" in options:
        first = _picked("canary", options["canary"], rows)
        found |= {"canary": [row["name"] for row in first], "first": [row["id"] for row in first]}
    if "spread" in options:
        found["groups"] = _groups(options["spread"], rows, labels)
        _check_canary(found)
    return found


def _check_canary(found: Mapping[str, Any]) -> None:
    first = set(found.get("first", ()))
    if any(len(first.intersection(group)) > 1 for group in found["groups"]):
        raise _refused("canary", "two of these hosts must not be in one batch, as spread says")


def _groups(
    spread: Any, rows: Sequence[RowMapping], labels: Mapping[int, Mapping[str, str]]
) -> list[list[int]]:
    if not isinstance(spread, str):
        return [[row["id"] for row in _picked("spread", group, rows)] for group in spread]
    label = spread.removeprefix(_BY_LABEL)
    groups: dict[object, list[int]] = {}
    for row in rows:
        alike = row[f"{spread}_id"] if label == spread else labels[row["id"]].get(label)
        if alike is not None:
            groups.setdefault(alike, []).append(row["id"])
    return [group for group in groups.values() if len(group) > 1]


def _picked(option: str, wanted: Sequence[Any], rows: Sequence[RowMapping]) -> list[RowMapping]:
    """The job's hosts that *wanted* names, by id or name, each once."""
    by_name = {row["name"].casefold(): row for row in rows}
    by_id = {row["id"]: row for row in rows}
    found = {}
    for host in wanted:
        row = by_name.get(host.casefold()) if isinstance(host, str) else by_id.get(host)
        if row is None:
            raise _refused(option, f"{host} is not one of the job's hosts")
        found[row["id"]] = row
    return list(found.values())


def _refused(option: str, text: str) -> BadRequest:
    return BadRequest(f"rollout: {text}.", field=f"rollout.{option}" if option else "rollout")
