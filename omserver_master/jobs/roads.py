"""The connections of the site as one worker sees them: opened when needed, asked whether they are up."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Collection

from sqlalchemy import Engine, RowMapping

from omserver_client.errors import Unavailable
from omserver_master.backends import make_backend
from omserver_master.backends.base import Backend, Reachability
from omserver_master.errors import SiteKeyError
from omserver_master.machines import serves
from omserver_master.store import connections
from omserver_master.store import engine as store
from omserver_master.store.sitekey import SiteKey

from .board import JobHost
from .ports import Way

log = logging.getLogger(__name__)

#: Seconds for which a look at a connection, or at the table of connections, stays good.
FRESH = 2.0


class _Road:
    """One open connection."""

    def __init__(self, name: str, settings: str, backend: Backend) -> None:
        self.name = name
        self.settings = settings
        self.backend = backend
        self.looked = float("-inf")
        self.state = Reachability(False, "not looked at yet")
        self.down_since: float | None = None
        """In unix seconds; None while it is up, or was not looked at."""
        self.lock = threading.Lock()


class SiteRoads:
    """All connections that *machine* serves; safe for use by all job threads of a worker there."""

    def __init__(self, engine: Engine, site_key: SiteKey, machine: str = "") -> None:
        self._engine = engine
        self._site_key = site_key
        self._machine = machine
        self._open: dict[int, _Road] = {}
        self._unusable: dict[int, str] = {}
        self._lock = threading.Lock()
        self._read = float("-inf")
        self._known = False

    def choose(self, host: JobHost, but: Collection[int] = ()) -> Way | str:
        """The first connection of *host* whose control point is up, or one line that says why none is."""
        reasons: list[str] = []
        waits: list[str] = []
        for route in host.routes:
            if route.connection_id in but:
                continue
            road = self._road(route.connection_id)
            if isinstance(road, _Road) and self._look(route.connection_id, road).up:
                return Way(route.connection_id, road.backend, tuple(reasons))
            reasons += filter(None, [_why_not(road)])
            waits += filter(None, [_why_wait(road)])
        return "; ".join(waits) or f"{host.name} has no connection that is turned on."

    def backend(self, connection_id: int) -> Backend | None:
        """The engine of a connection, up or not; None if it is turned off or gone."""
        road = self._road(connection_id)
        return road.backend if isinstance(road, _Road) else None

    def why_down(self, connection_id: int) -> str:
        """Why a connection cannot be used just now, with its name; ``""`` when it can."""
        road = self._road(connection_id)
        if isinstance(road, _Road) and self._look(connection_id, road).up:
            return ""
        return _why_not(road) or "It was turned off."

    def ids(self) -> dict[str, int]:
        """The ids of the connections that are turned on, by name."""
        with self._lock:
            self._follow()
            return {road.name: id_ for id_, road in self._open.items()}

    def names(self) -> dict[int, str]:
        """The names of the open connections by id."""
        with self._lock:
            return {id_: road.name for id_, road in self._open.items()}

    def close(self) -> None:
        with self._lock:
            for road in self._open.values():
                road.backend.close()
            self._open.clear()

    def _road(self, connection_id: int) -> _Road | str | None:
        """The connection, or why it cannot be used, or ``None`` if it is turned off or gone."""
        with self._lock:
            self._follow()
            return self._open.get(connection_id) or self._unusable.get(connection_id)

    def _follow(self) -> None:
        if time.monotonic() - self._read > FRESH:
            try:
                self._refresh()
            except Unavailable as error:
                if not self._known:
                    raise  # nothing is known of any connection: not even that it is gone
                log.warning("the table of connections was not read: %s", error)

    def _refresh(self) -> None:
        """Follow the table: open what is new or changed, close what is gone."""
        with store.read(self._engine) as conn:
            rows = {row["id"]: row for row in connections.list_connections(conn) if row["enabled"]}
        for id_, row in rows.items():
            if not serves(self._machine, row["machines"]):
                self._retire(id_)
                self._unusable[id_] = _elsewhere(row, self._machine)
                continue
            secrets = (row["secrets"] or b"").hex()
            settings = json.dumps([row["name"], row["kind"], row["settings"], secrets], sort_keys=True)
            old = self._open.get(id_)
            if old is None or old.settings != settings:
                self._retire(id_)
                self._open_road(id_, row, settings)
        for id_ in set(self._open) - set(rows):
            self._retire(id_)
        for id_ in set(self._unusable) - set(rows):
            del self._unusable[id_]
        self._known, self._read = True, time.monotonic()

    def _open_road(self, id_: int, row: RowMapping, settings: str) -> None:
        """Open one connection; a row that no engine understands harms no other."""
        try:
            settings_in_clear = connections.full_settings(self._site_key, row)
            backend = make_backend(row["kind"], row["name"], settings_in_clear)
        except (ValueError, SiteKeyError) as error:
            log.error("connection %s cannot be used: %s", row["name"], error)
            self._unusable[id_] = f"{row['name']}: {error}"
            return
        self._unusable.pop(id_, None)
        self._open[id_] = road = _Road(row["name"], settings, backend)
        if row["state"] == "down":  # another worker has noticed that before
            road.down_since = row["since"]

    def _retire(self, id_: int) -> None:
        old = self._open.pop(id_, None)
        if old is not None:
            # Jobs under way keep their reference; the engine's own deadlines end them.
            threading.Thread(target=old.backend.close, daemon=True).start()

    def _look(self, id_: int, road: _Road) -> Reachability:
        with road.lock:
            if time.monotonic() - road.looked > FRESH:
                before = road.state
                road.state = Reachability(True) if road.backend.just_answered() else road.backend.probe()
                road.looked = time.monotonic()
                road.down_since = None if road.state.up else road.down_since or time.time()
                if road.state != before:
                    self._note(id_, road)
            return road.state

    def _note(self, id_: int, road: _Road) -> None:
        word = "up" if road.state.up else "down"
        log.info("connection %s is %s %s", road.name, word, road.state.reason)
        try:
            store.transact(
                self._engine, lambda conn: connections.note_state(conn, id_, word, road.state.reason)
            )
        except Unavailable as error:
            log.warning("the state of connection %s was not stored: %s", road.name, error)


def _why_not(road: _Road | str | None) -> str:
    """Why *road* was not taken; ``""`` for one that is turned off, of which nobody wants to hear."""
    return f"{road.name}: {road.state.reason}" if isinstance(road, _Road) else road or ""


def _why_wait(road: _Road | str | None) -> str:
    """As `_why_not`, and since when."""
    why = _why_not(road)
    if not isinstance(road, _Road) or road.down_since is None:
        return why
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(road.down_since))
    return f"{why.removesuffix('.')} (since {since})."


def _elsewhere(row: RowMapping, machine: str) -> str:
    return f"{row['name']}: it is served by {', '.join(row['machines'])}, not by {machine}"
