"""Which machines reach all hosts of a job: its workers run there, and nowhere else.

A machine reaches a host if it serves one of the ways to it. That is written down with the job, so that a
claim looks at no host, and again when the ways change before the job is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, RowMapping

from omserver_client.errors import BadRequest
from omserver_master.store import connections, machines

Machines = frozenset[str] | None
"""Some machines; None: any."""

Way = Mapping[str, Any] | RowMapping

#: Names of hosts that a refusal gives for each set of machines.
_NAMED: Final = 5


def all_reach(conn: Connection, host_ids: Sequence[int], engines: Collection[str] = ()) -> Machines:
    """The machines that reach all of these hosts; empty if none does.

    Args:
        engines: the kinds of ways that the job's module works with; empty means all.
    """
    return _in_common(_of_hosts(conn, host_ids, engines).values())


def check(conn: Connection, rows: Sequence[RowMapping], engines: Collection[str]) -> Machines:
    """The machines that reach all of the hosts *rows*.

    Raises:
        BadRequest: there is none.
    """
    of_hosts = _of_hosts(conn, [row["id"] for row in rows], engines)
    found = _in_common(of_hosts.values())
    if found is None or found:
        return found
    told = _told({row["name"]: of_hosts[row["id"]] for row in rows if row["id"] in of_hosts})
    raise BadRequest(
        f"No machine reaches all of these hosts: {told}. Run a job on those of one machine,"
        " or let their connections be served by one in common (omctl connection set NAME --machine MACHINE).",
        field="hosts",
    )


def ways_changed(conn: Connection, host_ids: Sequence[int]) -> None:
    """See which machines reach the hosts of each job that is not over and has one of *host_ids*.

    A job that no machine reaches all hosts of any more stays where it was.
    """
    if not connections.named_machines(conn) and not machines.any_named(conn):
        return
    for job in machines.open_jobs_on(conn, host_ids):
        found = all_reach(conn, machines.open_hosts(conn, job["id"]), job["engines"] or ())
        if found != frozenset() and machines.packed(found) != job["machines"]:
            machines.set_machines(conn, job["id"], found)


def machines_of(ways: Sequence[Way], named: Mapping[int, frozenset[str]]) -> Machines:
    """The machines that reach a host by one of its *ways*, those that are on or, if none is, any of them.

    Args:
        named: the machines of each connection that names some, by its id.
    """
    on = [way for way in ways if way["enabled"]] or ways
    served = [named.get(way["connection_id"]) for way in on]
    some = [names for names in served if names is not None]
    return frozenset().union(*some) if some and len(some) == len(served) else None


def _of_hosts(
    conn: Connection, host_ids: Sequence[int], engines: Collection[str]
) -> dict[int, frozenset[str]]:
    """The machines that reach each host, by its id, for those that not any machine reaches."""
    named = connections.named_machines(conn)
    if not named:
        return {}
    found: dict[int, frozenset[str]] = {}
    for host_id, ways in connections.routes(conn, host_ids).items():
        usable = [way for way in ways if not engines or way["kind"] in engines]
        if (reach := machines_of(usable, named)) is not None:
            found[host_id] = reach
    return found


def _in_common(of_hosts: Iterable[frozenset[str]]) -> Machines:
    different = set(of_hosts)
    return frozenset.intersection(*different) if different else None


def _told(of_hosts: Mapping[str, frozenset[str]]) -> str:
    """The hosts, and in brackets the machines that reach them."""
    groups: dict[frozenset[str], list[str]] = {}
    for host, names in of_hosts.items():
        groups.setdefault(names, []).append(host)
    return "; ".join(f"{_some(hosts)} ({', '.join(sorted(names))})" for names, hosts in groups.items())


def _some(hosts: Sequence[str]) -> str:
    return ", ".join([*hosts[:_NAMED], *(["..."] if len(hosts) > _NAMED else [])])
