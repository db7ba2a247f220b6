"""A small Func network on the loopback address: a CA, minions with certificates, callers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from omserver_func.certificates import Authority, key_pem, make_request, new_key, pem, write_file
from omserver_func.config import MasterFiles, MinionConfig, OverlordConfig
from omserver_func.daemon import Minion
from omserver_func.overlord import Overlord
from omserver_func.subject import pem_to_der, subject_of
from omserver_func.tls import Identity


def master_files(folder: Path) -> MasterFiles:
    return MasterFiles(
        ca_folder=folder / "ca",
        cert_folder=folder / "pki",
        cert_root=folder / "certs",
        csr_root=folder / "csrs",
        peer_root=None,
    )


class FuncSite:
    """Everything lies in *folder*. Minions are called by address: 127.0.0.x is each one's name."""

    def __init__(self, folder: Path, profile: str = "modern") -> None:
        self.folder = folder
        self.profile = profile
        self.files = master_files(folder)
        self.authority = Authority(self.files)
        self.minions: dict[str, Minion] = {}
        self.port = 0
        if profile == "legacy":
            self._old_ca()
        else:
            self.authority.create("site")
        self.ca = Identity(self.files.ca_cert, self.files.ca_cert, self.files.ca_key)

    def identity(self, name: str, role: str = "minion") -> Identity:
        """Key and certificate for *name*; a minion's is filed in the inventory, too."""
        place = self.folder / "pki" / name
        identity = Identity(
            self.files.ca_cert, place.with_name(f"{name}.cert"), place.with_name(f"{name}.pem")
        )
        if identity.cert.exists():
            return identity
        if self.profile == "legacy":
            self._old_certificate(name, identity)
        else:
            key = new_key()
            write_file(identity.key, key_pem(key), 0o600)
            write_file(identity.cert, pem(self.authority.sign(make_request(name, key), role=role)), 0o644)
        if role == "minion":
            write_file(self.files.cert_root / f"{name}.cert", identity.cert.read_bytes(), 0o644)
        return identity

    def caller_key(self, name: str) -> str:
        """What an ACL says for the caller *name*."""
        return subject_of(pem_to_der(self.identity(name, "caller").cert)).key

    def config(self, name: str, **more: object) -> MinionConfig:
        acl_folder = self.folder / "acls" / name
        acl_folder.mkdir(parents=True, exist_ok=True)
        return replace(
            MinionConfig(name=name, listen=name, port=self.port, acl_folder=acl_folder, profile=self.profile),
            **more,
        )

    def start(self, name: str, **more: object) -> Minion:
        """Start the minion *name*, which is an address."""
        minion = Minion(self.config(name, **more), self.identity(name))
        self.port = self.port or minion.server.port
        minion.start()
        self.minions[name] = minion
        return minion

    def grant(self, minion: str, line: str) -> None:
        """Write the only ACL file of *minion*."""
        write_file(self.folder / "acls" / minion / "site.acl", line.encode() + b"\n", 0o644)

    def stop(self) -> None:
        for minion in self.minions.values():
            minion.stop()
        self.minions.clear()

    def overlord_config(self, identity: Identity | None = None) -> OverlordConfig:
        return OverlordConfig(
            identity=identity or self.ca,
            cert_root=self.files.cert_root,
            groups_file=self.folder / "groups",
            down_file=self.folder / "down",
            port=self.port,
            profile=self.profile,
            jobs_folder=self.folder / "jobs",
        )

    def overlord(self, spec: str = "*", caller: str = "", **more: object) -> Overlord:
        """An overlord that shows the CA's certificate, or that of *caller*."""
        identity = self.identity(caller, "caller") if caller else None
        arguments = {"timeout": 20, "nforks": 8, "config": self.overlord_config(identity)} | more
        return Overlord(spec, **arguments)

    def _old_ca(self) -> None:
        """Key and certificate as certmaster made them: SHA-1, serial number 0, no keyUsage."""
        self.files.ca_folder.mkdir(parents=True)
        config = self.folder / "openssl.cnf"
        config.write_text("[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n")
        subject = "/C=UN/ST=FC/L=Certmaster-town/O=certmaster/OU=slave-key/CN=lab-CA-KEY"
        openssl(
            *("req", "-x509", "-sha1", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-set_serial", "0"),
            *("-subj", subject, "-config", config, "-extensions", "ca"),
            *("-keyout", self.files.ca_key, "-out", self.files.ca_cert),
        )

    def _old_certificate(self, name: str, identity: Identity) -> None:
        identity.cert.parent.mkdir(parents=True, exist_ok=True)
        request = identity.cert.with_suffix(".csr")
        subject = f"/C=UN/ST=FC/L=Certmaster-town/O=certmaster/OU=slave-key/CN={name}"
        config = self.folder / "openssl.cnf"
        openssl(
            *("req", "-new", "-md5", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-config", config),
            *("-keyout", identity.key, "-out", request),
        )
        openssl(
            *("x509", "-req", "-sha1", "-days", "3650", "-set_serial", "7", "-in", request),
            *("-CA", self.files.ca_cert, "-CAkey", self.files.ca_key, "-out", identity.cert),
        )


def openssl(*arguments: object) -> str:
    words = ["openssl", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


@contextmanager
def func_site(folder: Path, *minions: str, profile: str = "modern", **more: object) -> Iterator[FuncSite]:
    """A site whose minions are started, and stopped afterwards."""
    site = FuncSite(folder, profile)
    with ExitStack() as stack:
        stack.callback(site.stop)
        for name in minions or ("127.0.0.2", "127.0.0.3"):
            site.start(name, **more)
        yield site
