"""What an import would do: each incoming host compared with those that are there. Nothing is changed here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from omserver_client.errors import BadRequest

from ..store.names import name_key
from .incoming import Incoming, check_new_name, merged

STATUSES = ("new", "changed", "same", "conflict", "refused", "missing")
Way = tuple[int, str]


@dataclass(frozen=True)
class Options:
    """What holds for all new hosts of an import; *connection* where their own row names none."""

    categ: str = ""
    app: str = ""
    state: str = "in_service"
    connection: str = ""


@dataclass(frozen=True)
class HostNow:
    """A host that is there, with its ways in order."""

    id: int
    name: str
    wip: str
    lip: str
    os: str
    state: str
    facts: Mapping[str, Any]
    categ: str
    app: str
    ways: tuple[Way, ...] = ()


@dataclass(frozen=True)
class World:
    """The hosts and connections that there are."""

    hosts: Mapping[int, HostNow]
    connections: Mapping[str, int]


@dataclass(frozen=True)
class Change:
    """One field before and after."""

    field: str
    old: str
    new: str


@dataclass(frozen=True)
class PlanRow:
    """What would become of one host; *add* and *respell* are ways: new ones, and ids spelt otherwise."""

    number: int
    status: str
    name: str
    reason: str = ""
    host_id: int | None = None
    changes: tuple[Change, ...] = ()
    add: tuple[Way, ...] = ()
    respell: tuple[Way, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A whole import."""

    rows: tuple[PlanRow, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Changes when anything changes that the import would do, or would not."""
        text = json.dumps([_plain(row) for row in self.rows], separators=(",", ":"))
        return sha256(text.encode()).hexdigest()[:16]


def make_plan(rows: Iterable[Incoming], world: World, options: Options, source: str | None = None) -> Plan:
    """Compare *rows* with *world*; *source* is the connection whose list they are, if it is one's.

    Hosts that are missing from the source are only listed: an import never removes a host.
    """
    incoming = merged(list(rows))
    desk = _Desk(world, options)
    taken = _taken_twice(incoming)
    planned = [desk.plan(row, taken.get(row.number, "")) for row in incoming]
    planned = _one_row_a_host(planned)
    planned += desk.missing(source)
    counted = Counter(row.status for row in planned)
    return Plan(tuple(planned), {status: counted[status] for status in STATUSES})


def _taken_twice(rows: Sequence[Incoming]) -> dict[int, str]:
    """Rows that cannot both be right, by their number, each with the reason."""
    names: dict[str, list[Incoming]] = {}
    ids: dict[tuple[str, str], list[Incoming]] = {}
    for row in rows:
        if not row.wrong:
            names.setdefault(name_key(row.name), []).append(row)
            for connection, remote_id in row.ways:
                ids.setdefault((connection, remote_id.lower()), []).append(row)
    reasons = {}
    for group, what in [*((g, "id") for g in ids.values()), *((g, "name") for g in names.values())]:
        for row in group if len(group) > 1 else ():
            others = ", ".join(str(other.number) for other in group if other is not row)
            reasons[row.number] = f"Row {others} has the same {what}; upper and lower case count as one."
    return reasons


def _one_row_a_host(rows: Sequence[PlanRow]) -> list[PlanRow]:
    """*rows*, with a conflict of those that turned out to be about one host."""
    counted = Counter(row.host_id for row in rows if row.host_id is not None and row.status != "conflict")
    return [
        PlanRow(row.number, "conflict", row.name, "Another row is about the same host.", row.host_id)
        if row.host_id is not None and counted[row.host_id] > 1
        else row
        for row in rows
    ]


class _Desk:
    """Plans one row after the other."""

    def __init__(self, world: World, options: Options) -> None:
        self._world = world
        self._options = options
        self._names = {id_: name for name, id_ in world.connections.items()}
        self._seen: set[int] = set()
        self._by_name = {name_key(host.name): host for host in world.hosts.values()}
        self._by_way = {
            (connection, remote_id.lower()): host
            for host in world.hosts.values()
            for connection, remote_id in host.ways
        }

    def plan(self, row: Incoming, collision: str) -> PlanRow:
        """What would become of *row*."""
        if row.wrong:
            return PlanRow(row.number, "refused", row.name, row.wrong)
        if bool(row.categ or self._options.categ) != bool(row.app or self._options.app):
            return PlanRow(
                row.number, "refused", row.name, "A category needs an application, and vice versa."
            )
        unknown = [name for name, _ in row.ways if name not in self._world.connections]
        if unknown:
            return PlanRow(row.number, "refused", row.name, f"There is no connection {unknown[0]!r}.")
        ways = tuple((self._world.connections[name], remote_id) for name, remote_id in row.ways)
        matches = {host.id: host for host in self._matches(row, ways)}
        self._seen.update(matches)
        if collision:
            return PlanRow(row.number, "conflict", row.name, collision)
        if len(matches) > 1:
            return self._ambiguous(row, ways)
        if matches:
            return self._known(row, ways, next(iter(matches.values())))
        return self._new(row, ways)

    def missing(self, source: str | None) -> list[PlanRow]:
        """Hosts that no row was about."""
        asked = None if source is None else self._world.connections.get(source)
        absent = [
            host
            for host in self._world.hosts.values()
            if host.id not in self._seen
            and host.state != "retired"
            and (asked is None or any(connection == asked for connection, _ in host.ways))
        ]
        absent.sort(key=lambda host: name_key(host.name))
        return [PlanRow(0, "missing", host.name, host_id=host.id) for host in absent]

    def _matches(self, row: Incoming, ways: Sequence[Way]) -> Iterable[HostNow]:
        for connection, remote_id in ways:
            if (connection, remote_id.lower()) in self._by_way:
                yield self._by_way[connection, remote_id.lower()]
        if name_key(row.name) in self._by_name:
            yield self._by_name[name_key(row.name)]

    def _ambiguous(self, row: Incoming, ways: Sequence[Way]) -> PlanRow:
        names = sorted({host.name for host in self._matches(row, ways)})
        reason = f"Its name and its id belong to different hosts here: {', '.join(names)}."
        return PlanRow(row.number, "conflict", row.name, reason)

    def _new(self, row: Incoming, ways: tuple[Way, ...]) -> PlanRow:
        try:
            check_new_name(row.name)
        except BadRequest as error:
            return PlanRow(row.number, "refused", row.name, str(error))
        usual = self._world.connections.get(self._options.connection)
        if not ways and usual is not None:
            if (usual, row.name.lower()) in self._by_way:
                other = self._by_way[usual, row.name.lower()].name
                reason = f"{other} is known as {row.name} on {self._options.connection}."
                return PlanRow(row.number, "conflict", row.name, reason)
            ways = ((usual, row.name),)
        values = {
            "lip": row.lip or row.address,
            "wip": row.wip,
            "os": row.os,
            "os_family": row.os_family,
            "osrelease": row.osrelease,
            "categ": row.categ or self._options.categ,
            "app": row.app or self._options.app,
            "state": row.state or self._options.state,
            "ways": self._told(ways),
        }
        changes = tuple(Change(name, "", value) for name, value in values.items() if value)
        return PlanRow(row.number, "new", row.name, changes=changes, add=ways)

    def _known(self, row: Incoming, ways: Sequence[Way], host: HostNow) -> PlanRow:
        there = dict(host.ways)
        add = tuple(way for way in ways if way[0] not in there)
        other = [way for way in ways if way[0] in there and way[1].lower() != there[way[0]].lower()]
        if other:
            connection, remote_id = other[0]
            known = f"{host.name} is known as {there[connection]} on {self._names[connection]}"
            reason = f"{known}, not as {remote_id}."
            return PlanRow(row.number, "conflict", host.name, reason, host.id)
        respell = tuple(way for way in ways if way[0] in there and way[1] != there[way[0]])
        changes = [*self._fields(row, host), *self._ways(host, add, respell)]
        status = "changed" if changes else "same"
        return PlanRow(row.number, status, host.name, "", host.id, tuple(changes), add, respell)

    def _fields(self, row: Incoming, host: HostNow) -> Iterable[Change]:
        lip = row.lip or (row.address if row.address not in (host.lip, host.wip) else "")
        told = {"lip": lip, "wip": row.wip, "os": row.os, "state": row.state}
        told |= {"os_family": row.os_family, "osrelease": row.osrelease}
        if row.categ or row.app:
            told |= {"categ": row.categ or host.categ, "app": row.app or host.app}
        for name, new in told.items():
            old = str(host.facts.get(name, "")) if name in ("os_family", "osrelease") else getattr(host, name)
            if new and new != old:
                yield Change(name, old, new)

    def _ways(self, host: HostNow, add: tuple[Way, ...], respell: tuple[Way, ...]) -> Iterable[Change]:
        if add or respell:
            spelt = dict(respell)
            after = [(connection, spelt.get(connection, id_)) for connection, id_ in host.ways]
            yield Change("ways", self._told(host.ways), self._told((*after, *add)))

    def _told(self, ways: Iterable[Way]) -> str:
        return ", ".join(f"{self._names[connection]} as {remote_id}" for connection, remote_id in ways)


def _plain(row: PlanRow) -> list[Any]:
    changes = [[change.field, change.old, change.new] for change in row.changes]
    return [row.status, row.name, row.host_id, row.reason, changes, list(row.add), list(row.respell)]
