"""The settings of a connection of kind ``ssh``, and what they mean for each host: keys, jumps, names."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from ..base import FoundHost, NoInventory, Target
from ..options import Setting

SETTINGS = (
    Setting("user", "The user to log in as (default: the user that the worker runs as).", "登录用户。"),
    Setting("port", "The port of sshd on the hosts.", "主机上 sshd 的端口。", "number"),
    Setting("private_key", "The file of the private key to log in with.", "登录私钥文件。", "path"),
    Setting("passphrase", "The passphrase of that key.", "私钥的口令。", secret=True),
    Setting("certificate", "The file of the certificate of that key.", "私钥的证书文件。", "path"),
    Setting("agent", "The socket of the ssh agent to log in with.", "ssh-agent 的套接字。", "path"),
    Setting("password", "The password to log in with.", "登录密码。", secret=True),
    Setting(
        "known_hosts",
        "The file of known host keys (default: the worker's own ~/.ssh/known_hosts).",
        "已知主机密钥文件。",
        "path",
    ),
    Setting("jump", "Hosts to go through, as user@host:port,user@host:port.", "跳板机。"),
    Setting("config", "An ssh_config file that knows how to reach the hosts.", "ssh_config 文件。", "path"),
    Setting("sudo", "Run all work as root, by sudo without a password.", "用 sudo 执行。", "bool", False),
    Setting("connect_timeout", "Seconds that a host gets to answer.", "连接超时(秒)。", "number", 10),
    Setting("most_at_once", "How many hosts are at work at once.", "同时操作的主机数。", "number", 1000),
    Setting("keepalive", "Seconds between two signs of life.", "保活间隔(秒)。", "number", 5),
    Setting("keep", "Seconds that an unused connection stays open.", "空闲连接保留(秒)。", "number", 60),
)
_HOP = re.compile(r"(?:([^@\s]+)@)?(\[[^\]\s]+\]|[^:@\s]+)(?::(\d{1,5}))?")
_ALGORITHMS: Mapping[str, Any] = {
    # The cheapest of the safe first: with hundreds of hosts at once, this is where the time goes.
    "kex_algs": "^curve25519-sha256,curve25519-sha256@libssh.org",
    "encryption_algs": "^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "compression_algs": "none",
}


class SettingsError(Exception):
    """A file that the settings name cannot be used; nothing can be reached before that is put right."""


@dataclass(frozen=True)
class Way:
    """Where a host listens: *names* are all that its key may be known by, the best first."""

    host: str
    port: int
    user: str
    names: tuple[str, ...]
    jump: str = ""
    identities: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.host if self.port == 22 else f"{self.host} port {self.port}"


class Site:
    """Reads the files that the settings name, again when they change. May be used from any thread."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._key: tuple[tuple[int, int], asyncssh.SSHKey] | None = None
        self._known: tuple[object, asyncssh.SSHKnownHosts] | None = None

    def check(self) -> None:
        """Look whether all files that the settings name can be used.

        Raises:
            SettingsError: one cannot, with the reason.
        """
        self._login()
        self.known_hosts()
        self._configured("localhost")
        parse_jump(self.settings["jump"] or "")

    def way(self, target: Target) -> Way:
        """How *target* is reached.

        Raises:
            SettingsError: the ssh_config file cannot be used.
        """
        alias = target.remote_id or target.name
        names = tuple(dict.fromkeys(name for name in (alias, target.name, target.address) if name))
        jump = self.settings["jump"] or ""
        return self._way(target.address or alias, names, jump, alias)

    def hop(self, hop: str) -> Way:
        """How one host of a jump chain (``user@host:port``) is reached; it is not said through whom."""
        user, host, port = parse_jump(hop)[0]
        way = self._way(host, (host,), "", host)
        return dataclasses.replace(way, port=port or way.port, user=user or way.user)

    def _way(self, host: str, names: tuple[str, ...], jump: str, alias: str) -> Way:
        found = self._configured(alias)
        if found is None:
            return Way(host, self.settings["port"] or 22, self.settings["user"] or "", names, jump)
        host_name = str(found.config.get("Hostname") or "")
        jump = jump or str(found.config.get("ProxyJump") or "")
        return Way(
            host_name or host,
            self.settings["port"] or found.port or 22,
            self.settings["user"] or found.username,
            tuple(dict.fromkeys((*names, *([host_name] if host_name else ())))),
            "" if jump.lower() == "none" else jump,
            tuple(found.config.get("IdentityFile") or ()),
        )

    def options(self, way: Way) -> dict[str, Any]:
        """The arguments for ``asyncssh.connect`` that say who we are and whom we believe.

        Raises:
            SettingsError: a file cannot be used.
        """
        known = self.known_hosts()
        settings = self.settings
        login = {"username": way.user} if way.user else {}
        return {
            **_ALGORITHMS,
            **login,
            **self._login(way.identities),
            "config": None,
            "known_hosts": lambda *_: self.keys_of(way, known),
            "keepalive_interval": settings["keepalive"],
            "keepalive_count_max": 3,
            "tcp_keepalive": True,
            "request_pty": False,
        }

    def keys_of(self, way: Way, known: asyncssh.SSHKnownHosts | None = None) -> tuple[Sequence[Any], ...]:
        """What is known of a host's keys: trusted keys, trusted authorities, revoked keys.

        The first of its names that is known counts; what was revoked under any, is.
        """
        known = known or self.known_hosts()
        port = way.port if way.port != 22 else None
        found = [known.match(name, "", port) for name in way.names]
        trusted = next((one for one in found if one[0] or one[1]), found[0])
        revoked = [key for one in found for key in one[2]]
        return trusted[0], trusted[1], revoked

    def known_hosts(self) -> asyncssh.SSHKnownHosts:
        """The known host keys.

        Raises:
            SettingsError: the file cannot be read.
        """
        paths = [Path(path) for path in self.known_hosts_files]
        try:
            stamp = [(path, _stamp(path)) for path in paths]
            with self._lock:
                if self._known is None or self._known[0] != stamp:
                    self._known = (stamp, asyncssh.read_known_hosts([str(path) for path in paths]))
                return self._known[1]
        except (OSError, ValueError) as error:
            files = " and ".join(map(str, paths))
            raise SettingsError(f"The known host keys in {files} can't be read: {error}.") from error

    @property
    def known_hosts_files(self) -> list[str]:
        """The files that host keys are looked up in."""
        if self.settings["known_hosts"]:
            return [str(Path(self.settings["known_hosts"]).expanduser())]
        own = Path("~/.ssh/known_hosts").expanduser()
        everybody = Path("/etc/ssh/ssh_known_hosts")
        return [str(own), *([str(everybody)] if everybody.exists() else [])]

    def inventory(self) -> list[FoundHost]:
        """The hosts that the ssh_config file names one by one.

        Raises:
            NoInventory: there is no such file.
            SettingsError: it cannot be used.
        """
        if not self.settings["config"]:
            raise NoInventory("A connection of the kind ssh knows hosts only from an ssh_config file.")
        self._configured("localhost")
        text = Path(self.settings["config"]).expanduser().read_text(encoding="utf-8", errors="replace")
        lines = re.findall(r"(?im)^[ \t]*host(?:[ \t]*=[ \t]*|[ \t]+)(.+)$", text)
        names = dict.fromkeys(name.strip('"') for line in lines for name in line.split())
        hosts = [name for name in names if not re.search(r"[*?!]", name)]
        return [FoundHost(name, name, self._way(name, (name,), "", name).host) for name in hosts]

    def _login(self, identities: Sequence[str] = ()) -> dict[str, Any]:
        settings = self.settings
        if not any(settings[name] for name in ("private_key", "agent", "password")):
            return {"client_keys": list(identities)} if identities else {}
        login: dict[str, Any] = {"agent_path": settings["agent"] or None, "password": settings["password"]}
        login["client_keys"] = () if settings["agent"] else None
        if settings["private_key"]:
            key = self._private_key(Path(settings["private_key"]).expanduser())
            certificate = settings["certificate"]
            login["client_keys"] = [(key, str(Path(certificate).expanduser())) if certificate else key]
        return login

    def _private_key(self, path: Path) -> asyncssh.SSHKey:
        try:
            stamp = _stamp(path)
            with self._lock:
                if self._key is None or self._key[0] != stamp:
                    self._key = (stamp, asyncssh.read_private_key(path, self.settings["passphrase"]))
                return self._key[1]
        except OSError as error:
            raise SettingsError(f"The private key {path} can't be read: {error.strerror}.") from error
        except (ValueError, asyncssh.KeyImportError) as error:
            raise SettingsError(f"The private key {path} can't be used: {error}.") from error

    def _configured(self, alias: str) -> Any:
        path = self.settings["config"]
        if not path:
            return None
        try:
            return asyncssh.SSHClientConnectionOptions(
                config=[str(Path(path).expanduser())], host=alias, known_hosts=b"", client_keys=None
            )
        except (OSError, ValueError, asyncssh.ConfigParseError) as error:
            raise SettingsError(f"The ssh_config file {path} can't be used: {error}.") from error


def parse_jump(chain: str) -> list[tuple[str, str, int]]:
    """(user, host, port) of each hop of ``user@host:port,...``; ``""`` and 0 where it is not said.

    Raises:
        SettingsError: that is no such chain.
    """
    hops = []
    for hop in filter(None, (part.strip() for part in chain.split(","))):
        found = _HOP.fullmatch(hop)
        if not found:
            raise SettingsError(f"The jump host {hop!r} should look like user@host:port.")
        hops.append((found[1] or "", found[2].strip("[]"), int(found[3] or 0)))
    return hops


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
