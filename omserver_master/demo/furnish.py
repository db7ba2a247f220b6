"""What a demo finds in its database: an admin, three keys, its hosts. Made once, then kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from sqlalchemy import Connection, Engine

from omserver_client.keyfile import BadKeyFile, read_key

from ..access.keys import KeyRing, create_key
from ..access.passwords import hash_password, invent
from ..settings import Settings
from ..store import audit, connections, grants, hosts, keys, users
from ..store.engine import begin
from ..store.seed import seed
from ..store.sitekey import SiteKey, read_site_key
from .site import Site, SiteHost

ADMIN = "admin"
#: The account that the demo's own program acts as.
SERVICE = "demo"
#: Connections are called so, and by their kind.
CONNECTION = "demo-"
CATEGORY, APPLICATION = "Linux.Web", "www.domain.com"


def furnish(engine: Engine, settings: Settings) -> tuple[str | None, Path]:
    """Make what is missing; the admin's new password (None if there was one), and the demo's key file."""
    with begin(engine) as conn:
        seed(conn)
    password = invent()
    is_new = _ensure_user(engine, ADMIN, "admin", password)
    _ensure_user(engine, SERVICE, "operator", invent())
    return password if is_new else None, _ensure_keys(engine, settings)


def ensure_hosts(engine: Engine, sites: Sequence[Site]) -> None:
    """Make the hosts of *sites*, and a connection for each; those of an earlier demo's engines are off."""
    with begin(engine) as conn:
        ways = {site.kind: _ensure_connection(conn, site) for site in sites}
        for way in connections.list_connections(conn):
            if way["name"].startswith(CONNECTION):
                connections.set_enabled(conn, way["id"], way["id"] in ways.values())
        known = hosts.hosts_by_name(conn, [host.name for site in sites for host in site.hosts])
        for site in sites:
            for host in site.hosts:
                row = known.get(host.name.lower())
                number = int(row["id"]) if row else _add_host(conn, host, ways[site.kind])
                hosts.set_facts(conn, number, host.facts, host.os)


def _ensure_connection(conn: Connection, site: Site) -> int:
    name = f"{CONNECTION}{site.kind}"
    row = connections.connection_by_name(conn, name)
    if row is None:
        return connections.add_connection(conn, name, site.kind, site.connection_settings)
    connections.set_settings(conn, row["id"], site.connection_settings)
    return int(row["id"])


def _add_host(conn: Connection, host: SiteHost, way: int) -> int:
    app = hosts.add_app(conn, hosts.add_category(conn, CATEGORY), APPLICATION)
    number = hosts.add_host(conn, host.name, wip=host.ip, lip=host.ip, app_id=app)
    connections.link_host(conn, number, way, host.remote_id)
    return number


def _ensure_keys(engine: Engine, settings: Settings) -> Path:
    site = read_site_key(settings.site_key)
    own = settings.home / "keys" / f"{SERVICE}.key"
    _ensure_key(engine, site, "web", settings.key_for("web"), "admin")
    _ensure_key(engine, site, "omctl", settings.key_for("omctl"), "admin")
    _ensure_key(engine, site, SERVICE, own, "operator", SERVICE)
    return own


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
