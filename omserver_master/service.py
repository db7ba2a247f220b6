"""One running master: the RPyC server in this process, and its workers: beside it, or elsewhere."""

from __future__ import annotations

import logging
from types import TracebackType

from omserver_client.errors import LoginFailed, Refused

from . import audit
from .access import sessions
from .access.keys import KeyRing
from .access.throttle import LoginThrottle
from .crew import Crew
from .dispatcher import Dispatcher
from .farbell import FarBell
from .jobs.bell import Changes
from .jobs.submission import Rules
from .keeping import Keep, Keeper
from .memory import share_arenas
from .operations.context import Site
from .registry.pool import ChildPool
from .registry.registry import Registry
from .settings import CELERY, Settings
from .store.engine import make_engine
from .store.schema_version import require_current
from .store.sitekey import read_site_key
from .wire.bridge import Bridge
from .wire.certificates import server_context
from .wire.doors import Doors
from .wire.server import HardenedServer, Limits

log = logging.getLogger(__name__)

#: Database connections of a master: its callers wait in threads, few of them in the database at once.
POOL = 20
#: Warm children that describe modules.
DESCRIBERS = 1


class Master:
    """Serves callers and keeps workers running, from ``with`` to its end.

    Raises:
        CannotListen: the port is taken.
        DatabaseBehind: the tables are not those of this version.
    """

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(settings.database_url, pool_size=POOL)
        require_current(self._engine)
        site_key = read_site_key(settings.site_key)
        self._pool = ChildPool(DESCRIBERS)
        self._changes = Changes()
        self._keeper = Keeper(self._engine, site_key, Keep.of(settings))
        self._crew = self._make_crew(settings)
        registry = Registry(settings.modules_dir, self._pool)
        self.site = Site(
            settings=settings,
            engine=self._engine,
            registry=registry,
            rules=Rules(registry, settings.confirm_above),
            throttle=LoginThrottle(),
            site_key=site_key,
            changes=self._changes,
            ring=self._crew.ring,
        )
        doors = Doors(Dispatcher(self.site).dispatch, self._check_login, self._audit_refusal)
        ring = KeyRing(self._engine, site_key)
        limits = Limits(max_frame=settings.max_frame)
        tls = None
        if settings.tls_cert is not None and settings.tls_key is not None:
            tls = server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        bridge = None
        if settings.allow_rc4_clients:
            bridge = Bridge(settings.secret_key, frozenset(settings.rc4_client_addresses))
            log.warning(
                "RC4 clients are served from %s: passwords in clear, tasks without integrity",
                ", ".join(settings.rc4_client_addresses),
            )
        self.server = HardenedServer(
            settings.rpyc_host, settings.rpyc_port, doors, ring, limits=limits, tls=tls, bridge=bridge
        )

    def _make_crew(self, settings: Settings) -> Crew | FarBell:
        """Who carries out jobs: workers of our own, or those that hear a bell."""
        if settings.executor == CELERY:
            return FarBell(settings)
        return Crew(settings.workers, self._engine, self._changes.announce)

    def __enter__(self) -> Master:
        share_arenas()
        self._crew.start()
        self.server.start_in_background()
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()
        self._keeper.stop()
        self._crew.stop()
        self._pool.close()
        self._engine.dispose()

    def _check_login(self, user: str, password: str, address: str) -> bool:
        outcome = "ok"
        try:
            sessions.check_login(self._engine, self.site.throttle, user, password, address)
        except Refused as refusal:
            outcome = refusal.code
            if not isinstance(refusal, LoginFailed):
                log.warning("login of %r from %s refused: %s", user, address, refusal)
        audit.login(self._engine, user, address, outcome)
        return outcome == "ok"

    def _audit_refusal(self, address: str, kid: str, reason: str) -> None:
        audit.unopened(self._engine, address, kid, reason)
