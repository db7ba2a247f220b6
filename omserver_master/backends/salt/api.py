"""Reaches minions through salt-api: where the Salt master is elsewhere, or has a Python of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..options import Setting
from .backend import COMMON_SETTINGS, SaltBackend
from .bus import SaltBus
from .http import HttpSaltBus

EAUTHS = (
    "sharedsecret",
    "pam",
    "file",
    "ldap",
    "auto",
    "django",
    "keystone",
    "mysql",
    "pki",
    "rest",
    "yubico",
)


class SaltApiBackend(SaltBackend):
    """One Salt master behind a salt-api (rest_cherrypy)."""

    kind = "salt-api"
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting(
            "url",
            "Where salt-api listens, such as https://salt.example.org:8000.",
            "salt-api 的地址，例如 https://salt.example.org:8000。",
            required=True,
        ),
        Setting(
            "user",
            "The user of external_auth that OMServer logs in as.",
            "OMServer 登录所用的 external_auth 用户。",
            required=True,
        ),
        Setting(
            "password",
            "That user's password, or the shared secret.",
            "该用户的密码，或共享密钥。",
            required=True,
            secret=True,
        ),
        Setting(
            "eauth",
            "How the Salt master checks it.",
            "Salt master 的认证方式。",
            "choice",
            default="sharedsecret",
            choices=EAUTHS,
        ),
        Setting(
            "ca_file",
            "The certificates that salt-api's own is checked against; without it, the system's.",
            "用于校验 salt-api 证书的 CA 文件；留空则使用系统证书。",
            "path",
        ),
        Setting(
            "timeout",
            "Seconds that salt-api may take for one answer.",
            "salt-api 单次应答的最长秒数。",
            "number",
            default=15,
        ),
        *COMMON_SETTINGS,
    )

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        check_url(name, self.settings["url"])

    def _make_bus(self) -> SaltBus:
        values = self.settings
        login = {"username": values["user"], "eauth": values["eauth"]}
        # Salt has one of the two names, by the kind of eauth; it ignores the other.
        login |= {"password": values["password"], "sharedsecret": values["password"]}
        return HttpSaltBus(values["url"], login, values["ca_file"] or True, max(1.0, values["timeout"]))


def check_url(connection: str, url: str) -> None:
    """Make sure that nobody on the way can read the token or speak for the Salt master.

    Raises:
        ValueError: it is no address, or is not protected.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
        raise ValueError(f"Connection {connection}: url must be like https://salt.example.org:8000.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError(
            f"Connection {connection}: url: plain http only works to this machine itself; use https://{host}."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
