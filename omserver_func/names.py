"""Which hosts a text means. The inventory is a folder of signed certificates, one file `<host>.cert` each.

    HostList(certroot, groups_file).match("web*;@databases;@all:*.lab.test")

Parts are split at ``;``, nothing is trimmed, a comma separates nothing. What is not understood means no host.
"""

from __future__ import annotations

import configparser
import logging
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

log = logging.getLogger(__name__)

_END = ".cert"
_WILD = re.compile(r"[*?\[]")
_LOOK_UP_SECONDS = 5.0


@dataclass(frozen=True)
class HostList:
    """The hosts that an overlord knows. *peer_root* holds more certificates, from another certmaster."""

    cert_root: Path
    groups_file: Path | None = None
    down_file: Path | None = None
    peer_root: Path | None = None
    allow_unknown: bool = False

    def known(self) -> set[str]:
        """All hosts with a signed certificate."""
        return _names(self.cert_root) | (_names(self.peer_root) if self.peer_root is not None else set())

    def match(self, spec: str, exclude: str = "") -> set[str]:
        """The hosts that *spec* means, without those that *exclude* means, of the same form."""
        known = self.known()
        groups = read_groups(self.groups_file) if "@" in spec + exclude else {}
        found = self._match(spec, known, groups, self.allow_unknown)
        return found - self._match(exclude, known, groups, False) if exclude else found

    def down(self) -> set[str]:
        """The hosts that the site says are down."""
        if self.down_file is None:
            return set()
        try:
            lines = self.down_file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return set()
        return {line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")}

    def _match(
        self, spec: str, known: set[str], groups: Mapping[str, tuple[str, ...]], unknown: bool
    ) -> set[str]:
        found: set[str] = set()
        for part in spec.split(";"):
            if part.startswith("@"):
                found |= _of_group(part[1:], known, groups)
            elif part:
                found |= _matching(part, known) or self._otherwise(part, known, unknown)
        return found

    def _otherwise(self, part: str, known: set[str], unknown: bool) -> set[str]:
        """A name under which no certificate is filed: another name of such a host, or an unknown one."""
        if _WILD.search(part):
            return set()
        aliases = {name.lower() for name in _aliases(part)}
        found = {name for name in known if name.lower() in aliases}
        return found or ({part} if unknown and not re.search(r"[\s/\\\0]", part) else set())


def _names(folder: Path) -> set[str]:
    try:
        return {file.name.removesuffix(_END) for file in folder.iterdir() if file.name.endswith(_END)} - {""}
    except FileNotFoundError:
        return set()
    except OSError as error:
        log.warning("no host is known: %s", error)
        return set()


def _matching(pattern: str, names: set[str]) -> set[str]:
    return {name for name in names if fnmatchcase(name.lower(), pattern.lower())}


def _of_group(text: str, known: set[str], groups: Mapping[str, tuple[str, ...]]) -> set[str]:
    """``name``: the group's members that are known; ``name:pattern``: those that it names and that match."""
    name, colon, pattern = text.partition(":")
    members = groups.get(name.lower(), ())
    if colon:
        named = {host for host in known if host.lower() in members}
        return _matching(pattern, named)
    return {host for member in members for host in _matching(member, known)}


def read_groups(file: Path | None) -> dict[str, tuple[str, ...]]:
    """The groups of an INI file, each with its ``host`` entries, all in small letters.

    A file that can't be read has no groups, and that is logged.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        if file is None or not parser.read(file, encoding="utf-8"):
            return {}
    except (configparser.Error, UnicodeError, OSError) as error:
        log.error("no group is known: %s", error)
        return {}
    groups = {}
    for section in parser.sections():
        entries = re.split("[,;]", parser[section].get("host", ""))
        groups[section.lower()] = tuple(entry.strip().lower() for entry in entries if entry.strip())
    return groups


def _aliases(name: str) -> set[str]:
    found: set[str] = set()

    def ask() -> None:
        try:
            canonical, aliases, _ = socket.gethostbyname_ex(name)
        except (OSError, UnicodeError):
            return
        found.update([canonical, *aliases])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_LOOK_UP_SECONDS)
    return set(found)
