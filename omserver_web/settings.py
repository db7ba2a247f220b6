"""What the console is told from outside: ``OMSERVER_*`` in the environment, checked at start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from .numbers import number

#: Names that a browser on this machine may use for it.
LOOPBACK_NAMES = ["127.0.0.1", "localhost", "[::1]"]

#: Bytes of the secret that signs form tokens.
SECRET_BYTES = 32


class BadSetting(ValueError):
    """A setting of the console is not acceptable."""


def from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """The console's settings, as Flask names them.

    Raises:
        BadSetting: a value cannot be used; the message names it.
    """

    def value(name: str, default: str) -> str:
        return environment.get(f"OMSERVER_{name}") or default

    home = Path(value("HOME", "~/.omserver")).expanduser()
    settings: dict[str, object] = {
        "HOME": home,
        "RPYC_HOST": value("RPYC_HOST", "127.0.0.1"),
        "RPYC_PORT": _number(value("RPYC_PORT", "11511"), "OMSERVER_RPYC_PORT", 1, 65535),
        "KEY_FILE": Path(value("KEY_FILE", str(home / "keys" / "web.key"))).expanduser(),
        "WEB_HOST": value("WEB_HOST", "127.0.0.1"),
        "WEB_PORT": _number(value("WEB_PORT", "8511"), "OMSERVER_WEB_PORT", 1, 65535),
        "WORKERS": _number(value("WEB_WORKERS", "1"), "OMSERVER_WEB_WORKERS", 1, 64),
        "HTTPS": value("WEB_HTTPS", "0") == "1",
        "NAMES": value("WEB_NAMES", "").replace(",", " ").split(),
        "STREAMS": _number(value("WEB_STREAMS", "16"), "OMSERVER_WEB_STREAMS", 0, 1000),
    }
    _refuse_http_abroad(settings)
    return settings


def _number(text: str, name: str, low: int, high: int) -> int:
    count = number(text)
    if count is None or not low <= count <= high:
        raise BadSetting(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}.")
    return count


def _refuse_http_abroad(settings: Mapping[str, object]) -> None:
    if not settings["HTTPS"] and not is_loopback(str(settings["WEB_HOST"])):
        raise BadSetting(
            f"OMSERVER_WEB_HOST={settings['WEB_HOST']} would send passwords in clear. Keep the console on "
            "127.0.0.1 behind a proxy that speaks https, and set OMSERVER_WEB_HTTPS=1."
        )


def is_loopback(host: str) -> bool:
    """Whether *host* can only be reached from this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def read_secret(home: Path) -> str:
    """The secret that signs form tokens; made at the first start, mode 0600, different on every site.

    Raises:
        BadSetting: the file can be read by others, or is too short to be a secret.
        OSError: it can neither be read nor made.
    """
    path = home / "web.secret"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_once(path)
    if path.stat().st_mode & 0o077:
        raise BadSetting(f"{path} can be read by others; `chmod 600` it, or remove it to get a new one.")
    secret = path.read_text().strip()
    if len(secret) < SECRET_BYTES:
        raise BadSetting(f"{path} is too short to be a secret; remove it to get a new one.")
    return secret


def _make_once(path: Path) -> None:
    # Two workers may start at the same time: the file appears complete, or not at all.
    if path.exists():
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(SECRET_BYTES) + "\n")
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
