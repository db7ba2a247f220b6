"""Where the last worker left a job, read from the database: at its beginning, or somewhere in the middle."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from omserver_master.contract.work import Answer
from omserver_master.store import clock, connections, outputs, results, steps
from omserver_master.store.sitekey import SiteKey

from .board import MARGIN, JobHost, LeftAt, Route, Seat
from .states import FINAL_HOST

Row = Mapping[str, Any] | RowMapping


@dataclass(frozen=True)
class Left:
    """The seats of all hosts; what the module's child is told of those that ended, and of steps answered."""

    seats: list[Seat]
    ended: Mapping[str, Mapping[str, Any]]
    replay: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def at_work(self) -> bool:
        """Whether any host had been given work and has no end."""
        return any(seat.state == "dispatched" for seat in self.seats)

    @property
    def done(self) -> int:
        """How far the job is: it grows with every host's end and every step that was answered."""
        return len(self.ended) + sum(max(seat.step - 1, 0) for seat in self.seats)


def read(conn: Connection, site_key: SiteKey, job: RowMapping, ids: Mapping[str, int]) -> Left:
    """Where the job stands.

    Args:
        ids: the ids of the connections by name.
    """
    return _seated(conn, site_key, job, ids, results.all_results(conn, job["id"]))


def read_late(conn: Connection, site_key: SiteKey, job: RowMapping, ids: Mapping[str, int]) -> Left:
    """As `read`, of a job that is over: the hosts whose end is uncertain, as if they were at work still."""
    rows = results.uncertain(conn, job["id"])
    return _seated(conn, site_key, job, ids, [{**row, "state": "dispatched"} for row in rows])


def _seated(
    conn: Connection,
    site_key: SiteKey,
    job: RowMapping,
    ids: Mapping[str, int],
    rows: Sequence[Row],
) -> Left:
    host_ids = [row["host_id"] for row in rows if row["state"] not in FINAL_HOST]
    ways = connections.routes(conn, host_ids)
    now = clock.now(conn) if any(row["state"] == "dispatched" for row in rows) else 0.0
    seats = []
    for row in rows:
        routes = _routes(ways.get(row["host_id"], ()), job["engines"] or ())
        seat = Seat(_job_host(row, routes), row["state"], step=row["step"])
        seat.sent = row["state"] == "pending" and row["step"] > 1
        if row["state"] == "dispatched":
            seat.sent, seat.handle = True, row["handle"]
            left_for = row["started"] + job["timeout"] + MARGIN - now
            id_ = ids.get(row["connection"])
            until = time.monotonic() + left_for
            seat.left_at = LeftAt(id_, row["remote_id"], row["handle"], row["work"], until)
            seat.connection_id = id_
        seats.append(seat)
    ended = {row["host"]: _end(row) for row in rows if row["state"] in FINAL_HOST}
    return Left(seats, ended, _replay(conn, site_key, job["id"], seats))


def _replay(
    conn: Connection, site_key: SiteKey, job_id: int, seats: Sequence[Seat]
) -> dict[str, list[dict[str, Any]]]:
    """What the hosts that are in the middle had answered, by name."""
    in_the_middle = {seat.host.id: seat for seat in seats if seat.step > 1 and seat.state not in FINAL_HOST}
    recorded = steps.of_hosts(conn, job_id, list(in_the_middle))
    return {
        in_the_middle[host_id].host.name: [_answer(conn, site_key, row).to_wire() for row in rows]
        for host_id, rows in recorded.items()
    }


def _answer(conn: Connection, site_key: SiteKey, row: RowMapping) -> Answer:
    return Answer(
        "done",
        row["rc"],
        outputs.get_output(conn, site_key, row["stdout_id"]),
        outputs.get_output(conn, site_key, row["stderr_id"]),
        row["stdout_cut"],
        row["stderr_cut"],
        row["seconds"],
    )


def _end(row: Row) -> dict[str, str]:
    """The end of a host as the module's ``after`` sees it."""
    return {"state": row["state"], "reason": row["reason"], "text": row["first_line"]}


def _routes(ways: Sequence[RowMapping], engines: Collection[str]) -> tuple[Route, ...]:
    """The ways that may be taken. *engines*: the kinds that the module works with; empty means all."""
    usable = [way for way in ways if way["enabled"] and (not engines or way["kind"] in engines)]
    return tuple(Route(way["connection_id"], way["remote_id"]) for way in usable)


def _job_host(row: Row, routes: tuple[Route, ...]) -> JobHost:
    """A host as the job froze it, and what is known of it today."""
    family = (row["facts"] or {}).get("os_family", "")
    return JobHost(row["host_id"], row["host"], row["ip"], row["os"] or "", family, routes)
