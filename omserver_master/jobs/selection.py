"""From what a caller named to hosts of ours: exactly those, or a refusal that names what is wrong."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from omserver_client.errors import BadRequest, HostMismatch, UnknownHost


@dataclass(frozen=True)
class Named:
    """How a caller names a host: by our id, or by name and perhaps an address that must be one of its own."""

    id: int | None = None
    name: str = ""
    ip: str = ""


class Known(Protocol):
    """A host of ours, as far as choosing it goes."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> Iterable[str]: ...
    @property
    def state(self) -> str: ...


class Table(Protocol):
    """Where hosts are looked up."""

    def by_ids(self, ids: Iterable[int]) -> Sequence[Known]: ...
    def by_names(self, names: Iterable[str]) -> Sequence[Known]: ...


def choose(named: Sequence[Named], table: Table) -> list[Known]:
    """The hosts that *named* means, in that order, each once.

    Raises:
        BadRequest: no hosts, or one of them twice.
        UnknownHost: some are not ours or are retired; ``details["hosts"]`` lists them all.
        HostMismatch: an address is none of its host's.
    """
    if not named:
        raise BadRequest("Pick at least one host.", field="hosts")
    by_id = {host.id: host for host in table.by_ids(n.id for n in named if n.id is not None)}
    by_name = {host.name.casefold(): host for host in table.by_names(n.name for n in named if n.id is None)}
    found = [by_id.get(n.id) if n.id is not None else by_name.get(n.name.casefold()) for n in named]
    chosen = _all_known(named, found)
    _once(chosen)
    for name, host in zip(named, chosen, strict=True):
        _check_address(name, host)
    return chosen


def _all_known(named: Sequence[Named], found: Sequence[Known | None]) -> list[Known]:
    missing = [n.name or f"#{n.id}" for n, host in zip(named, found, strict=True) if host is None]
    if missing:
        raise UnknownHost(f"Not a host here: {', '.join(missing[:20])}.", hosts=missing)
    retired = [host.name for host in found if host is not None and host.state == "retired"]
    if retired:
        raise UnknownHost(f"Retired, so nothing runs there: {', '.join(retired[:20])}.", hosts=retired)
    return [host for host in found if host is not None]


def _once(chosen: Sequence[Known]) -> None:
    twice = [name for name, number in Counter(host.name for host in chosen).items() if number > 1]
    if twice:
        raise BadRequest(f"Named twice: {', '.join(twice[:20])}.", field="hosts", hosts=twice)


def _check_address(named: Named, host: Known) -> None:
    known = {_plain(address) for address in host.addresses if address}
    if named.ip and _plain(named.ip) not in known:
        text = f"{named.ip} is no address of {host.name}; it has {', '.join(sorted(known)) or 'none here'}."
        raise HostMismatch(text, host=host.name, given=named.ip, known=sorted(known))


def _plain(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
