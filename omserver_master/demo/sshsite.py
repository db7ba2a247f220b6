"""A few hosts that are reached by ssh: an OpenSSH server each, as plain processes of who starts the demo.

    with SshSite("ansible", home, ("app-01", "app-02")) as site:
        site.connection_settings, site.hosts

Each has an address of the loopback interface, a host key and a folder of its own; only who started the demo
can log in, with a key made for it. All share this machine's files.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from .kept import Kept
from .saltsite import free_ports
from .site import SiteFailed, SiteHost, host_here

#: Seconds for the servers to listen.
START_TIMEOUT = 20.0
#: The addresses of each engine's hosts begin so; Linux answers for all of 127.0.0.0/8.
NETS = {"ansible": "127.0.11", "ssh": "127.0.12"}
#: Where a server may be that is not in PATH.
PLACES = ":/usr/sbin:/usr/local/sbin"
_SERVER_FOLDER = Path("/run/sshd")
_CONFIG = """\
ListenAddress {address}:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 1000
MaxSessions 1000
LogLevel ERROR
Subsystem sftp internal-sftp
"""


class SshSite:
    """OpenSSH servers for the engine *kind*, ``ansible`` or ``ssh``. *say* gets a line for people."""

    def __init__(
        self, kind: str, home: Path, names: Sequence[str], say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.kind = kind
        self.names = tuple(names)
        self.logs = home.absolute() / "logs"
        self.hosts: list[SiteHost] = []
        self.port = 0
        self._made_folder = False
        self._say = say
        self._kept: Kept | None = None

    @property
    def connection_settings(self) -> dict[str, Any]:
        """The settings of a connection of this kind to these hosts."""
        assert self._kept is not None
        key, known = str(self._kept.folder / "key"), str(self._kept.folder / "known_hosts")
        user = pwd.getpwuid(os.getuid()).pw_name
        if self.kind == "ssh":
            return {"user": user, "private_key": key, "known_hosts": known, "port": self.port}
        run_dir = str(self._kept.folder / "run")
        return {
            "user": user,
            "private_key_file": key,
            "known_hosts": known,
            "ssh_args": f"-p {self.port}",
            "run_dir": run_dir,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start all, and return when every server has said its name.

        Raises:
            SiteFailed: OpenSSH is not installed, or a server did not start within *timeout* seconds.
        """
        server = _server(self.kind)
        self._made_folder = _make_server_folder()
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._kept = Kept()
        try:
            self._say(f"Starting {len(self.names)} ssh servers for {self.kind}.")
            self._write_files()
            commands = {
                name: [server, "-D", "-e", "-f", str(self._kept.folder / name / "sshd_config")]
                for name in self.names
            }
            self._kept.start(commands, self.logs, f"sshd-{self.kind}")
            self._await(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Leave no process and no file behind."""
        if self._kept is not None:
            self._kept.stop()
            self._kept = None
        if self._made_folder:
            with suppress(OSError):
                _SERVER_FOLDER.rmdir()
            self._made_folder = False

    def _write_files(self) -> None:
        assert self._kept is not None
        folder = self._kept.folder
        self.port = free_ports(1, "0.0.0.0")[0]  # noqa: S104  # free on all addresses; nothing listens there
        (folder / "run").mkdir(mode=0o700)
        public = _make_key(folder / "key")
        known = []
        for number, name in enumerate(self.names, start=1):
            own = folder / name
            own.mkdir(mode=0o700)
            host = host_here(name, f"{NETS[self.kind]}.{number}")
            self.hosts.append(host)
            known.append(f"[{host.ip}]:{self.port} {_make_key(own / 'host_key')}\n")
            (own / "authorized_keys").write_text(f"{public}\n")
            (own / "sshd_config").write_text(_CONFIG.format(address=host.ip, port=self.port, folder=own))
        (folder / "known_hosts").write_text("".join(known))

    def _await(self, deadline: float) -> None:
        assert self._kept is not None
        for host in self.hosts:
            while not _greets(host.ip, self.port):
                if self._kept.ended or time.monotonic() > deadline:
                    raise SiteFailed(
                        f"The ssh server {host.name} does not answer; see the logs in {self.logs}."
                    )
                time.sleep(0.05)


def _server(kind: str) -> str:
    """The path of sshd, which wants to be called by its whole path.

    Raises:
        SiteFailed: a program is missing.
    """
    server = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}{PLACES}")
    if server is None or shutil.which("ssh") is None:
        raise SiteFailed(
            f"The demo's hosts for {kind} need OpenSSH. Install it (Debian: apt install openssh-server), "
            f"or leave {kind} out of ENGINES."
        )
    return server


def _make_server_folder() -> bool:
    """Make the empty folder without which sshd does not start as root; whether it was missing."""
    if os.geteuid() != 0 or _SERVER_FOLDER.exists():
        return False
    _SERVER_FOLDER.mkdir(mode=0o755)
    return True


def _make_key(path: Path) -> str:
    """A new key at *path*; its public half, as files have it."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1.0) as line:
            return line.recv(4) == b"SSH-"
    except OSError:
        return False
