"""Connections: their settings checked, split into open and secret ones, and tried."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping

from omserver_client.errors import BadRequest, Unavailable

from .. import machines as names
from ..backends import (
    KINDS,
    OF_ONE_MACHINE,
    Reachability,
    Setting,
    Target,
    apart,
    keeps_hosts,
    settings_of,
)
from ..backends.base import ConnectionDown
from ..backends.options import BadSetting, read_settings
from ..errors import SiteKeyError
from ..jobs import reaching
from ..store import connections
from ..store.engine import transact
from ..store.sitekey import SiteKey

#: Seconds that one host gets for an answer when a connection is tried on it.
TRY_SECONDS = 12.0


@dataclass(frozen=True)
class Trial:
    """How it went to try a connection, and perhaps one host over it. *state* is the host's answer, or ""."""

    up: bool
    reason: str
    seconds: float
    host: str = ""
    state: str = ""
    host_reason: str = ""
    host_seconds: float = 0.0


def existing(conn: Connection, name: str) -> RowMapping:
    """The row of the connection called *name*.

    Raises:
        BadRequest: there is none.
    """
    row = connections.connection_by_name(conn, name)
    if row is None:
        raise BadRequest(f"There is no connection {name!r}.", field="connection")
    return row


def kinds(machine: str) -> list[dict[str, Any]]:
    """Every kind of connection with its settings, and with what serves one that is added on *machine*."""
    return [
        {
            "kind": kind,
            "keeps_hosts": keeps_hosts(kind),
            "machines": usual_machines(kind, machine),
            "settings": list(map(_setting, settings_of(kind))),
        }
        for kind in KINDS
    ]


def usual_machines(kind: str, machine: str) -> list[str]:
    """The machines that serve a new connection of this kind, added on *machine*; none: any."""
    return [machine] if kind in OF_ONE_MACHINE else []


def read_machines(named: Sequence[str]) -> list[str]:
    """The machines that somebody named, each once.

    Raises:
        BadRequest: one of them can't be, or they are too many.
    """
    try:
        found = sorted({names.read_name(name) for name in named})
    except ValueError as error:
        raise BadRequest(str(error), field="machines") from error
    if len(found) > names.MOST:
        raise BadRequest(f"A connection names {names.MOST} machines at most.", field="machines")
    return found


def set_machines(conn: Connection, row: RowMapping, machines: Sequence[str]) -> None:
    """From now on *machines* serve a connection, any if there are none; jobs that wait follow it."""
    connections.set_machines(conn, row["id"], machines)
    changed(conn, row["id"])


def changed(conn: Connection, connection_id: int) -> None:
    """A connection is served by others, or on, or off, now: let jobs that are not over follow it."""
    reaching.ways_changed(conn, connections.hosts_of(conn, connection_id))


def check_here(row: RowMapping, machine: str, field: str) -> None:
    """Let nobody ask a connection's control point on a machine that does not serve it.

    Raises:
        BadRequest: *machine* does not.
    """
    if not names.serves(machine, row["machines"]):
        raise BadRequest(elsewhere(row["name"], row["machines"], machine), field=field)


def elsewhere(name: str, machines: Sequence[str], machine: str) -> str:
    """That *machine*, where we are, does not serve the connection *name*."""
    return f"{name} is served by {', '.join(machines)}; it can't be asked from {machine}, a job over it can."


def add(
    conn: Connection,
    site_key: SiteKey,
    name: str,
    kind: str,
    settings: Mapping[str, Any],
    machines: Sequence[str] = (),
) -> int:
    """Add a connection with *settings*, secret ones among them, that *machines* serve; answers its id.

    Raises:
        BadRequest: the name is taken, there is no such kind, or a setting is wrong: ``field`` says which.
    """
    open_ones, secrets = merged(kind, name, {}, {}, settings)
    added = connections.add_connection(conn, name, kind, open_ones, machines)
    connections.set_secrets(conn, site_key, added, secrets)
    return added


def change(conn: Connection, site_key: SiteKey, row: RowMapping, changes: Mapping[str, Any]) -> None:
    """Change those settings of a connection that *changes* names.

    ``None`` takes a setting back; an empty text does so too, but keeps a secret as it is.

    Raises:
        BadRequest: a setting is wrong: ``field`` says which.
    """
    secrets = openable_secrets(site_key, row)
    open_ones, secrets = merged(row["kind"], row["name"], row["settings"], secrets, changes)
    connections.set_settings(conn, row["id"], open_ones)
    connections.set_secrets(conn, site_key, row["id"], secrets)


def merged(
    kind: str,
    name: str,
    open_ones: Mapping[str, Any],
    secrets: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The (open, secret) settings after *changes*, both checked.

    Raises:
        BadRequest: there is no such kind, or a setting is unknown, missing or wrong.
    """
    if kind not in KINDS:
        raise BadRequest(f"There is no kind {kind!r}; there are: {', '.join(KINDS)}.", field="kind")
    declared = settings_of(kind)
    hidden = {setting.name for setting in declared if setting.secret}
    whole = {**open_ones, **secrets}
    for key, value in changes.items():
        if value == "" and key in hidden:
            continue
        if value in (None, "", []):
            whole.pop(key, None)
        else:
            whole[key] = value
    _check(name, declared, whole)
    return (
        {key: value for key, value in whole.items() if key not in hidden},
        {key: value for key, value in whole.items() if key in hidden},
    )


def check_new(kind: str, name: str, settings: Mapping[str, Any], *, here: bool = True) -> None:
    """See whether the settings of a new connection can be.

    Args:
        here: this machine serves it, so that the engine itself is asked, in a process of its own.

    Raises:
        BadRequest: they can't.
        Unavailable: the engine could not be asked.
    """
    found = merged(kind, name, {}, {}, settings)
    if here:
        _ask_engine(kind, name, *found)


def check_change(
    site_key: SiteKey, row: RowMapping, changes: Mapping[str, Any], *, here: bool = True
) -> None:
    """See whether a connection's settings can be after *changes*; *here* is as of `check_new`.

    Raises:
        BadRequest: they can't.
        Unavailable: the engine could not be asked.
    """
    secrets = openable_secrets(site_key, row)
    found = merged(row["kind"], row["name"], row["settings"], secrets, changes)
    if here:
        _ask_engine(row["kind"], row["name"], *found)


def _ask_engine(kind: str, name: str, open_ones: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
    try:
        apart.check(kind, name, {**open_ones, **secrets})
    except ValueError as error:
        raise BadRequest(str(error), field="settings") from error
    except apart.EngineTrouble as error:
        raise Unavailable(f"{name}: {error}") from error


def try_way(engine: Engine, site_key: SiteKey, row: RowMapping, host: Target | None = None) -> Trial:
    """Ask a connection's control point whether it is up, note that, and then perhaps try one host.

    Takes some 30 seconds at most.
    """
    began = time.monotonic()
    found, settings = _probe(site_key, row)
    took = time.monotonic() - began
    if row["enabled"]:
        word = "up" if found.up else "down"
        transact(engine, lambda conn: connections.note_state(conn, row["id"], word, found.reason))
    trial = Trial(found.up, found.reason, round(took, 2))
    if host is None or not found.up:
        return trial
    return _tried_on(trial, row, settings, host)


def _probe(site_key: SiteKey, row: RowMapping) -> tuple[Reachability, dict[str, Any]]:
    try:
        settings = connections.full_settings(site_key, row)
    except SiteKeyError as error:
        return Reachability(False, f"Its secret settings cannot be read: {error}"), {}
    if row["kind"] not in KINDS:
        return Reachability(False, f"There is no kind {row['kind']!r}."), {}
    return apart.probe(row["kind"], row["name"], settings), settings


def _tried_on(trial: Trial, row: RowMapping, settings: Mapping[str, Any], host: Target) -> Trial:
    try:
        answer = apart.try_host(row["kind"], row["name"], settings, host, TRY_SECONDS)
    except (apart.EngineTrouble, ConnectionDown, ValueError) as error:
        answer_state, reason, seconds = "unknown", str(error), 0.0
    else:
        answer_state, seconds = ("ok" if answer.ok else answer.state), round(answer.seconds, 2)
        reason = answer.reason or ("" if answer.rc in (0, None) else f"`true` returned {answer.rc}.")
        if answer_state == "done":
            answer_state = "failed"
    return Trial(
        trial.up,
        trial.reason,
        trial.seconds,
        host=host.name,
        state=answer_state,
        host_reason=reason,
        host_seconds=seconds,
    )


def openable_secrets(site_key: SiteKey, row: RowMapping) -> dict[str, Any]:
    """The secrets of *row*; none where the site key is another now, so that they can be given anew."""
    try:
        return connections.secrets_of(site_key, row)
    except SiteKeyError:
        return {}


def _check(name: str, declared: tuple[Setting, ...], whole: Mapping[str, Any]) -> None:
    try:
        read_settings(name, declared, whole)
    except BadSetting as error:
        hidden = any(setting.secret and setting.name == error.setting for setting in declared)
        text = (
            str(error) if not hidden or not whole.get(error.setting) else _about_secret(name, error.setting)
        )
        raise BadRequest(text, field=f"settings.{error.setting}") from error


def _about_secret(name: str, setting: str) -> str:
    return f"Connection {name}: {setting} cannot be used as it is."


def _setting(setting: Setting) -> dict[str, Any]:
    names = ("name", "help", "help_zh", "type", "required", "secret")
    told = {name: getattr(setting, name) for name in names}
    default = None if setting.secret else setting.default
    default = list(default) if isinstance(default, tuple) else default
    return {**told, "default": default, "choices": list(setting.choices)}
