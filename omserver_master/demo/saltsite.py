"""The files of a Salt site on one machine: keys that are known from the start, and configuration."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

#: The largest event, in bytes: our capped outputs fit in many times over.
MAX_EVENT = 16 * 1024 * 1024


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """TCP ports of *address* that nobody listens on just now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]


def ensure_key(folder: Path, name: str) -> bytes:
    """Make the key pair *name* unless it is there already; the public half."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    if not (private.exists() and public.exists()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write_private(private, _private_pem(key))
        public.write_bytes(_public_pem(key))
    return public.read_bytes()


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def introduce(root: Path, names: Sequence[str]) -> None:
    """Give the master and the minions their keys, and let them know each other's."""
    master = ensure_key(root / "master" / "pki", "master")
    accepted = root / "master" / "pki" / "minions"
    accepted.mkdir(exist_ok=True, mode=0o700)
    for known in accepted.iterdir():
        if known.name not in names:
            known.unlink()
    for name in names:
        folder = root / name / "pki"
        (accepted / name).write_bytes(ensure_key(folder, "minion"))
        (folder / "minion_master.pub").write_bytes(master)


def write_master(
    root: Path, sockets: Path, logs: Path, ports: Sequence[int], interface: str = "127.0.0.1"
) -> Path:
    """Write the master's configuration; the folder that holds it."""
    own = {
        "interface": interface,
        "publish_port": ports[0],
        "ret_port": ports[1],
        "worker_threads": 3,
        "gather_job_timeout": 1,
        "timeout": 5,
        "ping_on_rotate": False,
        "file_roots": {"base": []},
        "pillar_roots": {"base": []},
        "log_file": str(logs / "salt-master.log"),
    }
    return _write(root / "master", "master", sockets / "master", own)


def write_minion(
    root: Path, name: str, sockets: Path, logs: Path, ports: Sequence[int], master: str = "127.0.0.1"
) -> Path:
    """Write the configuration of minion *name*; the folder that holds it."""
    own = {
        "id": name,
        "master": master,
        "publish_port": ports[0],
        "master_port": ports[1],
        "acceptance_wait_time": 1,
        "auth_timeout": 5,
        "recon_default": 200,
        "recon_max": 1000,
        "recon_randomize": False,
        "grains_cache": False,
        "enable_fqdns_grains": False,
        "enable_gpu_grains": False,
        "mine_enabled": False,
        "log_file": str(logs / f"salt-minion-{name}.log"),
    }
    return _write(root / name, "minion", sockets / name, own)


def _write(folder: Path, kind: str, sockets: Path, own: Mapping[str, Any]) -> Path:
    for part in (folder, sockets):
        part.mkdir(parents=True, exist_ok=True, mode=0o700)
    config: dict[str, Any] = {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        # Every path is named: Salt puts a root_dir before all others, also before that of the sockets,
        # and those break above about 100 characters.
        "root_dir": "/",
        "pki_dir": str(folder / "pki"),
        "cachedir": str(folder / "cache"),
        "sock_dir": str(sockets),
        "pidfile": str(folder / "pid"),
        "conf_file": str(folder / kind),
        "extension_modules": str(folder / "cache" / "extmods"),
        "sqlite_queue_dir": str(folder / "cache" / "queues"),
        "key_logfile": str(folder / "key.log"),
        "winrepo_dir": str(folder / "winrepo"),
        "winrepo_dir_ng": str(folder / "winrepo-ng"),
        "max_event_size": MAX_EVENT,
        "log_level": "warning",
        "log_level_logfile": "warning",
    }
    config.update(own)
    # JSON is YAML.
    (folder / kind).write_text(json.dumps(config, indent=1))
    return folder
