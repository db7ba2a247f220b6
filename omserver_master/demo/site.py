"""What the demo knows of the hosts that it starts: how they are reached, and what they are."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

#: Families of systems, by the ids that os-release knows.
_FAMILIES = {"debian": "Debian", "ubuntu": "Debian", "rhel": "RedHat", "fedora": "RedHat", "suse": "Suse"}


class SiteFailed(RuntimeError):
    """The hosts of an engine could not be started; the text says what to do."""


@dataclass(frozen=True)
class SiteHost:
    """A host: *remote_id* is its name to the engine."""

    name: str
    remote_id: str
    ip: str
    os: str
    os_family: str
    osrelease: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """What else is kept of it, spelt as an import does."""
        told = {"os_family": self.os_family.lower(), "osrelease": self.osrelease}
        return {name: value for name, value in told.items() if value}


class Site(Protocol):
    """The hosts of one engine, from ``with`` to its end. ``kind`` is that of the connection to them."""

    kind: str

    @property
    def hosts(self) -> Sequence[SiteHost]:
        """All of them, once they are started."""

    @property
    def connection_settings(self) -> Mapping[str, Any]:
        """The settings of the connection."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def host_here(name: str, ip: str) -> SiteHost:
    """A host that is this machine under another name and address."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    ids = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    family = next((_FAMILIES[one] for one in ids if one in _FAMILIES), "")
    system = f"{release.get('NAME', '').split()[0]} {release.get('VERSION_ID', '')}" if release else ""
    return SiteHost(name, name, ip, system.strip(), family, release.get("VERSION_ID", ""))
