"""A small Func network on this machine: a CA, and a real minion daemon for each host.

    with FuncSite(home, ("db-01", "db-02")) as site:
        site.connection_settings, site.hosts

Each minion has an address of the loopback interface, a certificate of its own, and an ACL that lets OMServer
in and nobody else. All share this machine's files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from omserver_func.certificates import Authority, key_pem, make_request, new_key, pem, write_file
from omserver_func.config import MasterFiles
from omserver_func.errors import CallFailed
from omserver_func.subject import pem_to_der, subject_of
from omserver_func.tls import Identity, client_context
from omserver_func.transport import MinionConnection

from .kept import Kept
from .saltsite import free_ports
from .site import SiteFailed, SiteHost, host_here

#: The folder that holds our packages: a checkout may have been moved since it was installed.
_ROOT = Path(__file__).resolve().parents[2]
_START = (
    "import sys; sys.path.append(sys.argv.pop(1)); from omserver_func.funcd import main; sys.exit(main())"
)
#: Seconds for the minions to answer.
START_TIMEOUT = 30.0
NET = "127.0.13"
CALLER = "omserver"
#: What OMServer calls; docs/backends/func.md has the same list.
METHODS = "omserver.*, command.run, copyfile.copyfile, jobs.job_status"


class FuncSite:
    """See the top of the file. *say* gets a line for people at each step of the start."""

    kind = "func"

    def __init__(
        self, home: Path, names: Sequence[str], say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.names = tuple(names)
        self.logs = home.absolute() / "logs"
        self.hosts: list[SiteHost] = []
        self.port = 0
        self._say = say
        self._kept: Kept | None = None

    @property
    def connection_settings(self) -> dict[str, Any]:
        """The settings of a connection of kind ``func`` to these minions."""
        caller = self._identity(CALLER)
        return {
            "ca_file": str(caller.ca),
            "cert_file": str(caller.cert),
            "key_file": str(caller.key),
            "certroot": str(self._files().cert_root),
            "groups_file": str(self._folder() / "groups"),
            "port": self.port,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start all, and return when every minion has answered.

        Raises:
            SiteFailed: a minion ended at once, or did not answer within *timeout* seconds.
        """
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._kept = Kept()
        try:
            self._say(f"Starting {len(self.names)} Func minions, with certificates of a new CA.")
            self._write_files()
            commands = {name: _command(self._folder() / f"{name}.conf") for name in self.names}
            self._kept.start(commands, self.logs, "func")
            self._await(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Leave no process and no file behind."""
        if self._kept is not None:
            self._kept.stop()
            self._kept = None

    def _folder(self) -> Path:
        assert self._kept is not None
        return self._kept.folder

    def _files(self) -> MasterFiles:
        folder = self._folder()
        return MasterFiles(
            ca_folder=folder / "ca",
            cert_folder=folder / "pki",
            cert_root=folder / "certs",
            csr_root=folder / "csrs",
            peer_root=None,
        )

    def _identity(self, name: str) -> Identity:
        place = self._folder() / "pki" / name
        return Identity(
            self._files().ca_cert, place.with_name(f"{name}.cert"), place.with_name(f"{name}.pem")
        )

    def _write_files(self) -> None:
        files = self._files()
        authority = Authority(files)
        authority.create("demo")
        self._issue(authority, CALLER, "caller")
        caller = subject_of(pem_to_der(self._identity(CALLER).cert)).key
        self.port = free_ports(1, "0.0.0.0")[0]  # noqa: S104  # free on all addresses; nothing listens there
        self.hosts = [host_here(name, f"{NET}.{number}") for number, name in enumerate(self.names, start=1)]
        for host in self.hosts:
            self._issue(authority, host.name, "minion")
            certificate = self._identity(host.name).cert.read_bytes()
            write_file(files.cert_root / f"{host.name}.cert", certificate, 0o644)
            self._write_minion(host, caller)

    def _issue(self, authority: Authority, name: str, role: Literal["minion", "caller"]) -> None:
        identity, key = self._identity(name), new_key()
        write_file(identity.key, key_pem(key), 0o600)
        write_file(identity.cert, pem(authority.sign(make_request(name, key), role=role)), 0o644)

    def _write_minion(self, host: SiteHost, caller: str) -> None:
        identity, acls = self._identity(host.name), self._folder() / "acls" / host.name
        acls.mkdir(parents=True)
        write_file(acls / "omserver.acl", f"{caller} = {METHODS}\n".encode(), 0o644)
        lines = {
            "minion_name": host.name,
            "listen_addr": host.ip,
            "listen_port": self.port,
            "acl_dir": acls,
            "certmaster_overrides_acls": "no",
            "ca_file": identity.ca,
            "cert_file": identity.cert,
            "key_file": identity.key,
        }
        text = "".join(f"{name} = {value}\n" for name, value in lines.items())
        (self._folder() / f"{host.name}.conf").write_text(f"[main]\n{text}")

    def _await(self, deadline: float) -> None:
        assert self._kept is not None
        context = client_context(self._identity(CALLER))
        for host in self.hosts:
            with MinionConnection(host.name, context, self.port, address=host.ip) as minion:
                while not _answers(minion):
                    if self._kept.ended or time.monotonic() > deadline:
                        text = f"The Func minion {host.name} does not answer; see the logs in {self.logs}."
                        raise SiteFailed(text)
                    time.sleep(0.05)


def _command(config: Path) -> list[str]:
    return [sys.executable, "-P", "-c", _START, str(_ROOT), "--config", str(config), "run"]


def _answers(minion: MinionConnection) -> bool:
    try:
        minion.call("jobs.job_status", ["nothing"], seconds=5)
    except (CallFailed, OSError):
        return False
    return True
