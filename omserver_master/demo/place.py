"""The place that a demo needs for itself: its data folder and its two ports."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SettingsError
from ..settings import PREFIX, Settings


@contextmanager
def own_folder(home: Path) -> Iterator[None]:
    """Hold *home* for this demo alone.

    Raises:
        SettingsError: another demo runs on it.
    """
    descriptor = os.open(home / "run" / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(
            f"A demo runs on {home} already. Stop it, or give this one a folder and ports of its own: "
            f"{PREFIX}HOME, {PREFIX}RPYC_PORT, {PREFIX}WEB_PORT."
        ) from None
    else:
        yield
    finally:
        os.close(descriptor)


def check_ports(settings: Settings) -> None:
    """Make sure that nobody listens where we will.

    Raises:
        SettingsError: a port is taken, or its address is not one of this machine.
    """
    _check_port(settings.rpyc_host, settings.rpyc_port, "RPYC")
    _check_port(settings.web_host, settings.web_port, "WEB")


def _check_port(host: str, port: int, name: str) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: what is left of connections that ended is no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"{host}:{port} cannot be used: {why}. Free the port, or choose another: "
            f"{PREFIX}{name}_PORT (address: {PREFIX}{name}_HOST)."
        ) from error
