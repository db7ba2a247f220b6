"""Func's own settings files, read as they are, and where everything lies if they say nothing.

A file that is missing means the defaults; keys that nobody knows are ignored.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass, field
from pathlib import Path

from .tls import Identity

PORT = 51234
CERTMASTER_PORT = 51235
LOOPBACK = "127.0.0.1"
_YES = {"1": True, "yes": True, "true": True, "0": False, "no": False, "false": False}


class WrongSetting(ValueError):
    """A settings file says what can't be."""


class Section:
    """The section ``[main]`` of one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        parser = configparser.ConfigParser()
        try:
            parser.read(file, encoding="utf-8")
            self._values = dict(parser["main"]) if "main" in parser else {}
        except (configparser.Error, UnicodeError) as error:
            raise WrongSetting(f"{file} can't be read: {error}") from error

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        return self._values.get(name, default).strip()

    def path(self, name: str, default: str = "") -> Path | None:
        """A path, or None where there is none."""
        text = self.text(name, default)
        return Path(text) if text else None

    def number(self, name: str, default: float) -> float:
        """A number of 0 or more."""
        try:
            number = float(self.text(name) or default)
        except ValueError as error:
            raise WrongSetting(f"{self._file}: {name} must be a number.") from error
        return max(0.0, number)

    def yes(self, name: str, default: bool) -> bool:
        """0, no, false or 1, yes, true."""
        text = self.text(name).lower()
        if text and text not in _YES:
            raise WrongSetting(f"{self._file}: {name} must be yes or no.")
        return _YES.get(text, default)

    def words(self, name: str) -> tuple[str, ...]:
        """A list, split at commas and white space."""
        return tuple(word for word in re.split(r"[,\s]+", self.text(name)) if word)


@dataclass(frozen=True)
class MasterFiles:
    """Where a certmaster keeps its files, as `certmaster.conf` says."""

    ca_folder: Path = Path("/etc/pki/certmaster/ca")
    cert_folder: Path = Path("/etc/pki/certmaster")
    cert_root: Path = Path("/var/lib/certmaster/certmaster/certs")
    csr_root: Path = Path("/var/lib/certmaster/certmaster/csrs")
    peer_root: Path | None = Path("/var/lib/certmaster/peers")
    listen: str = LOOPBACK
    port: int = CERTMASTER_PORT

    @classmethod
    def read(cls, file: Path = Path("/etc/certmaster/certmaster.conf")) -> MasterFiles:
        """As *file* says."""
        main = Section(file)
        return cls(
            ca_folder=main.path("cadir") or cls.ca_folder,
            cert_folder=main.path("cert_dir") or cls.cert_folder,
            cert_root=main.path("certroot") or cls.cert_root,
            csr_root=main.path("csrroot") or cls.csr_root,
            peer_root=(main.path("peerroot") or cls.peer_root) if main.yes("peering", True) else None,
            listen=main.text("listen_addr") or LOOPBACK,
            port=int(main.number("listen_port", CERTMASTER_PORT)),
        )

    @property
    def ca_cert(self) -> Path:
        """The CA's certificate."""
        return self.ca_folder / "certmaster.crt"

    @property
    def ca_key(self) -> Path:
        """The CA's key."""
        return self.ca_folder / "certmaster.key"


@dataclass(frozen=True)
class OverlordConfig:
    """What an overlord needs to know, as `overlord.conf` and `certmaster.conf` say."""

    identity: Identity | None = None
    cert_root: Path = MasterFiles.cert_root
    peer_root: Path | None = None
    groups_file: Path | None = Path("/etc/func/groups")
    down_file: Path | None = Path("/var/lib/func/hosts_down.lst")
    allow_unknown: bool = False
    timeout: float = 0.0
    port: int = PORT
    profile: str = "modern"
    jobs_folder: Path | None = field(default=None)

    @classmethod
    def read(
        cls,
        file: Path = Path("/etc/func/overlord.conf"),
        certmaster: Path = Path("/etc/certmaster/certmaster.conf"),
    ) -> OverlordConfig:
        """As the two files say."""
        main, master = Section(file), MasterFiles.read(certmaster)
        return cls(
            identity=_overlord_identity(main, master),
            cert_root=master.cert_root,
            peer_root=master.peer_root,
            groups_file=main.path("groups_file") or cls.groups_file,
            down_file=main.path("host_down_list") or cls.down_file,
            allow_unknown=main.yes("allow_unknown_minions", False),
            timeout=main.number("socket_timeout", 0.0),
            port=int(main.number("listen_port", PORT)) or PORT,
            profile=main.text("tls_profile", "modern"),
        )


def _overlord_identity(main: Section, master: MasterFiles) -> Identity | None:
    """Of its own, if all three files are named; else the CA's, as in Func."""
    key, cert, ca = (main.path(name) for name in ("key_file", "cert_file", "ca_file"))
    if key and cert and ca:
        return Identity(ca, cert, key)
    if _readable(master.ca_key):
        return Identity(master.ca_cert, master.ca_cert, master.ca_key)
    return None


def _readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False


@dataclass(frozen=True)
class MinionConfig:
    """What a minion needs to know, as `minion.conf` of Func and of certmaster say."""

    name: str = ""
    listen: str = LOOPBACK
    port: int = PORT
    identity: Identity | None = None
    cert_folder: Path = Path("/etc/pki/certmaster")
    acl_folder: Path = Path("/etc/func/minion-acl.d")
    ca_overrides: bool = True
    profile: str = "modern"
    modules: tuple[str, ...] = ()
    module_folder: Path | None = None
    certmaster: str = "certmaster"
    certmaster_port: int = CERTMASTER_PORT

    @classmethod
    def read(
        cls,
        file: Path = Path("/etc/func/minion.conf"),
        certmaster: Path = Path("/etc/certmaster/minion.conf"),
    ) -> MinionConfig:
        """As the two files say."""
        main, master = Section(file), Section(certmaster)
        key, cert, ca = (main.path(name) for name in ("key_file", "cert_file", "ca_file"))
        return cls(
            name=main.text("minion_name").lower(),
            listen=main.text("listen_addr") or LOOPBACK,
            port=int(main.number("listen_port", PORT)),
            identity=Identity(ca, cert, key) if key and cert and ca else None,
            cert_folder=master.path("cert_dir") or cls.cert_folder,
            acl_folder=main.path("acl_dir") or cls.acl_folder,
            ca_overrides=main.yes("certmaster_overrides_acls", True),
            profile=main.text("tls_profile", "modern"),
            modules=main.words("module_list"),
            module_folder=main.path("module_dir"),
            certmaster=master.text("certmaster", "certmaster"),
            certmaster_port=int(master.number("certmaster_port", CERTMASTER_PORT)),
        )

    def files(self, name: str) -> Identity:
        """The files by which the minion *name* shows who it is; capitals in their names don't matter."""
        if self.identity is not None:
            return self.identity
        folder = self.cert_folder
        return Identity(
            folder / "ca.cert", _any_case(folder, f"{name}.cert"), _any_case(folder, f"{name}.pem")
        )


def _any_case(folder: Path, name: str) -> Path:
    try:
        same = sorted(file for file in folder.iterdir() if file.name.lower() == name.lower())
    except OSError:
        same = []
    return same[0] if same else folder / name
