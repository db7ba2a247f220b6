"""What a demo finds in its database: an admin, three keys, its hosts. Made once, then kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from omserver_client.keyfile import BadKeyFile, read_key

from ..access.keys import KeyRing, create_key
from ..access.passwords import hash_password, invent
from ..settings import Settings
from ..store import audit, connections, grants, hosts, keys, users
from ..store.engine import begin
from ..store.sitekey import SiteKey

ADMIN = "admin"
#: The account that the demo's own program acts as.
SERVICE = "demo"
CONNECTION = "demo-salt"
CATEGORY, APPLICATION = "Linux.Web", "www.domain.com"


def ensure_admin(engine: Engine) -> str | None:
    """Make the account ``admin`` where there is none; its new password, or None if it was there."""
    password = invent()
    return password if _ensure_user(engine, ADMIN, "admin", password) else None


def ensure_keys(engine: Engine, settings: Settings, site: SiteKey) -> Path:
    """Make the keys of the console, of omctl and of the demo where they are missing; the demo's own file."""
    _ensure_user(engine, SERVICE, "operator", invent())
    folder = settings.home / "keys"
    _ensure_key(engine, site, "web", settings.key_for("web"), "admin")
    _ensure_key(engine, site, "omctl", settings.key_for("omctl"), "admin")
    _ensure_key(engine, site, SERVICE, folder / f"{SERVICE}.key", "operator", SERVICE)
    return folder / f"{SERVICE}.key"


def ensure_hosts(engine: Engine, names: Sequence[str], address: str, salt: Mapping[str, Any]) -> None:
    """Make the demo's hosts, reached over a Salt connection with these settings."""
    with begin(engine) as conn:
        connection = connections.connection_by_name(conn, CONNECTION)
        if connection is None:
            way = connections.add_connection(conn, CONNECTION, "salt", salt)
        else:
            way = int(connection["id"])
            connections.set_settings(conn, way, salt)
        known = hosts.hosts_by_name(conn, names)
        for name in names:
            if name.lower() not in known:
                _add_host(conn, name, address, way)


def _add_host(conn: Connection, name: str, address: str, way: int) -> None:
    app = hosts.add_app(conn, hosts.add_category(conn, CATEGORY), APPLICATION)
    host = hosts.add_host(conn, name, wip=address, lip=address, os="Linux", app_id=app)
    connections.link_host(conn, host, way, name)


def _ensure_user(engine: Engine, name: str, role: str, password: str) -> bool:
    with begin(engine) as conn:
        if users.user_by_name(conn, name) is not None:
            return False
        grants.set_role(conn, users.add_user(conn, name, hash_password(password)), role)
        audit.append(conn, action="user.create", target=name, user="omserver demo", detail=role)
        return True


def _ensure_key(
    engine: Engine, site: SiteKey, name: str, file: Path, role: str, service: str | None = None
) -> None:
    if _is_good(KeyRing(engine, site), file):
        return
    file.unlink(missing_ok=True)
    with begin(engine) as conn:
        account = users.user_by_name(conn, service) if service else None
        free = _free_name(conn, name)
        create_key(conn, site, free, file, role, account["id"] if account else None)
        audit.append(conn, action="key.create", target=free, user="omserver demo", detail=role)


def _is_good(ring: KeyRing, file: Path) -> bool:
    """Whether the file holds a key that this master knows."""
    try:
        key = read_key(file)
    except BadKeyFile:
        return False
    known = ring.lookup(key.kid)
    return known is not None and known[0].secret == key.secret


def _free_name(conn: Connection, name: str) -> str:
    """*name*, or the first of name-2, name-3, ... that was never given to a key."""
    taken = {row["name"] for row in keys.list_keys(conn)}
    numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(candidate for candidate in numbered if candidate not in taken)
