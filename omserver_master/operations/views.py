"""Rows of the store as the JSON that callers get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping

from omserver_master.jobs import freezing
from omserver_master.jobs.submission import Plan
from omserver_master.jobs.waiting import Why

Row = Mapping[str, Any] | RowMapping

MODULE_BRIEF = ("id", "title", "title_zh", "risk", "repeat", "timeout")


def job(row: Row, counts: Mapping[str, int], why: Why | None) -> dict[str, Any]:
    """A job; *counts* says how many of its hosts are in each state, *why* what it waits for."""
    plain = (
        "id module title title_zh params user state reason created started finished timeout repeat event"
        " module_sha256 dry_run pinned purged rerun_of until"
    )
    return {name: row[name] for name in plain.split()} | {
        "key": row["key_name"],
        "counts": dict(counts),
        "hosts": row["host_count"],
        "cancel_asked": row["cancel_asked"],
        "pause_asked": row["pause_asked"] and row["finished"] is None,
        "paused_by": row["paused_by"],
        "rollout": rollout(row["rollout"]),
        "locks": row["locks"] or [],
        "lock_mode": row["lock_mode"] or None,
        "why": why.to_wire() if why is not None else None,
    }


def rollout(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How a job goes over its hosts; None: over all at once."""
    return None if options is None else freezing.shown(options)


def reruns(rows: Sequence[Row]) -> dict[str, Any]:
    """The jobs that did a job again, oldest first."""
    plain = ("id", "state", "created", "finished", "dry_run")
    return {"reruns": [{name: row[name] for name in plain} for row in rows]}


def result(row: Row) -> dict[str, Any]:
    """Where one host of a job stands."""
    plain = (
        "host_id host ip state rc started finished connection passed_over reason first_line stdout_bytes"
        " stderr_bytes late event handle"
    )
    return {name: row[name] for name in plain.split()} | {
        "seconds": _seconds(row),
        "cut": bool(row["stdout_cut"] or row["stderr_cut"]),
    }


def host(row: Row) -> dict[str, Any]:
    """A host of the table."""
    plain = "id name wip lip os app_id app categ_id categ state connection last_seen"
    return {name: row[name] for name in plain.split()}


def plan(found: Plan) -> dict[str, Any]:
    """What exactly would run where."""
    return {
        "module": {
            name: getattr(found.module, name)
            for name in ("id", "title", "title_zh", "risk", "repeat", "timeout")
        },
        "params": found.params,
        "hosts": [host(row) for row in found.rows],
        "warnings": [dict(warning) for warning in found.warnings],
        "confirm": found.confirm,
        "dry_run": found.dry_run,
        "locks": list(found.locks.names),
        "lock_mode": found.locks.mode if found.locks.names else None,
        "rerun_of": found.rerun.job if found.rerun else None,
        "rollout": rollout(found.rollout),
        "omctl": found.omctl,
    }


def _seconds(row: Row) -> float | None:
    if row["started"] is None or row["finished"] is None:
        return None
    return round(max(0.0, float(row["finished"]) - float(row["started"])), 3)
