"""Hosts as a source tells of them: an engine's own list, brought into one form with those of a file."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from omserver_client.errors import BadRequest

from ..backends import FoundHost
from ..store.hosts import RESERVED
from ..store.names import check_name, name_key

#: More rows than this are not taken in one import.
MOST_ROWS = 50_000
#: What a host that comes in from elsewhere may not have in its name, beside what no name may have.
MARKUP = "<>\"'&`\\/|"
#: Groups of Ansible that every host is in.
_EVERYBODY = ("all", "ungrouped")
_LONGEST = 255


@dataclass(frozen=True)
class Incoming:
    """One host of a source; what it does not say is empty.

    *number* is its line in a file, else its place in the list; *ways* are (connection, the host's id there);
    *address* is one of its addresses, of which it is not known whether it is the inner or the outer one;
    *wrong* says why it cannot be taken.
    """

    number: int
    name: str
    ways: tuple[tuple[str, str], ...] = ()
    address: str = ""
    wip: str = ""
    lip: str = ""
    os: str = ""
    os_family: str = ""
    osrelease: str = ""
    categ: str = ""
    app: str = ""
    state: str = ""
    wrong: str = ""


def from_engine(connection: str, found: Iterable[FoundHost], groups: str = "") -> list[Incoming]:
    """The hosts that the engine of *connection* knows.

    *groups* is ``app`` or ``categ`` where a host's first group names its application or category.
    """
    return [_host(connection, number, host, groups) for number, host in enumerate(found, start=1)]


def checked(row: Incoming) -> Incoming:
    """*row*, with `Incoming.wrong` where it cannot be taken."""
    if row.wrong:
        return row
    try:
        _check(row)
    except BadRequest as error:
        return replace(row, wrong=str(error))
    return replace(row, address=_plain_ip(row.address), wip=_plain_ip(row.wip), lip=_plain_ip(row.lip))


def check_new_name(name: str) -> None:
    """Refuse a name that no new host may have.

    Raises:
        BadRequest: it is too long, not printable, or has a character that means something elsewhere.
    """
    check_name(name, "host", refused=RESERVED + MARKUP)


def merged(rows: Sequence[Incoming]) -> list[Incoming]:
    """*rows* with those made one that tell of the same host and name another connection each."""
    groups: dict[str, list[Incoming]] = {}
    for row in rows:
        groups.setdefault(name_key(row.name) if not row.wrong else f"\0{row.number}", []).append(row)
    return [row for group in groups.values() for row in _one_or_all(group)]


def _one_or_all(group: list[Incoming]) -> list[Incoming]:
    ways = [way for row in group for way in row.ways]
    plain = [replace(row, number=0, name="", ways=()) for row in group]
    agree = all(each == plain[0] for each in plain) and len({row.name for row in group}) == 1
    apart = len({way[0] for way in ways}) == len(ways) == len(group)
    if len(group) > 1 and agree and apart:
        return [replace(group[0], ways=tuple(ways))]
    return group


def _host(connection: str, number: int, host: FoundHost, groups: str) -> Incoming:
    facts = host.facts
    named = next((group for group in host.groups if group not in _EVERYBODY), "")
    row = Incoming(
        number,
        host.name,
        ((connection, host.remote_id),),
        address=host.address if _is_ip(host.address) else "",
        os=" ".join(filter(None, (facts.get("os", ""), facts.get("osrelease", "")))),
        os_family=facts.get("os_family", "").lower(),
        osrelease=facts.get("osrelease", ""),
        app=named if groups == "app" else "",
        categ=named if groups == "categ" else "",
    )
    return checked(row)


def _check(row: Incoming) -> None:
    check_name(row.name, "host")
    for _, remote_id in row.ways:
        if not 0 < len(remote_id) <= _LONGEST or not remote_id.isprintable():
            raise BadRequest(f"{remote_id[:64]!r} is not an id: 1 to {_LONGEST} printable characters.")
    for address in (row.address, row.wip, row.lip):
        if address and not _is_ip(address):
            raise BadRequest(f"{address[:64]!r} is not an IP address.")
    for what, text in (("system", row.os), ("category", row.categ), ("application", row.app)):
        if len(text) > _LONGEST or not text.isprintable():
            raise BadRequest(f"The {what} is not up to {_LONGEST} printable characters: {text[:64]!r}.")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _plain_ip(text: str) -> str:
    return str(ipaddress.ip_address(text)) if text else ""
