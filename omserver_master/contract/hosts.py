"""A host as module code sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Host:
    """One host of the job; *os_family* is "debian", "redhat", ... or "" where it is not known."""

    name: str
    ip: str = ""
    id: str = ""
    os: str = ""
    os_family: str = ""

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Host:
        """Read a host of a "start" order; what is absent or null is ""."""
        return cls(**{name: str(wire.get(name) or "") for name in cls.__slots__})


def read_hosts(hosts: str | Sequence[Host]) -> tuple[Host, ...]:
    """The hosts of the 2014 text ``ip*name,ip*name``; hosts that are read already pass unchanged."""
    if not isinstance(hosts, str):
        return tuple(hosts)
    pairs = (entry.rpartition("*") for entry in hosts.split(",") if entry)
    return tuple(Host(name=name.strip(), ip=ip.strip()) for ip, _, name in pairs)


def write_hosts(hosts: Sequence[Host]) -> str:
    """The 2014 text of *hosts*, as an original module expects it."""
    return ",".join(f"{host.ip}*{host.name}" for host in hosts)
