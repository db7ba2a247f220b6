"""`omserver doctor`: everything that must be right, one line each, with what to do where it is not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from omserver_client import connect
from omserver_client.errors import OMServerError, Refused, Unavailable
from omserver_client.keyfile import BadKeyFile, read_key
from omserver_client.transport import LISTENS_ON_ALL

from ..access.keys import KeyRing
from ..backends import OF_ONE_MACHINE
from ..celeryapp import make_app, reachable
from ..machines import none_runs
from ..registry.pool import ChildPool
from ..registry.registry import NOT_YET, Broken, Registry
from ..settings import CELERY, FOLDERS, PROCESSES, Settings, check_on_pause, load_settings
from ..store import audit, clock, connections, keys, workers
from ..store.engine import make_engine, read
from ..store.schema_version import require_current
from ..store.sitekey import read_site_key

#: Seconds to wait for a port.
_PATIENCE = 2
#: Seconds by which this machine's clock may differ from the database's.
_MOST_WRONG = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; *remedy* says what to do when it is not good."""

    good: bool
    text: str
    remedy: str = ""


@click.command()
def command() -> None:
    """Look at everything that must be right, and say what to do. Exit code 1 if something is not."""
    findings = list(_examine())
    for finding in findings:
        click.echo(f"{'ok  ' if finding.good else 'FAIL'}  {finding.text}")
        if not finding.good and finding.remedy:
            click.echo(f"      {finding.remedy}")
    if not all(finding.good for finding in findings):
        raise click.exceptions.Exit(1)


def _examine() -> Iterator[Finding]:
    try:
        settings = load_settings()
    except OMServerError as error:
        yield Finding(
            False, f"settings: {error}", "Correct config.py or the environment; see docs/configuration.md."
        )
        return
    yield Finding(True, f"settings: {settings.config or 'no config.py'}, data folder {settings.home}")
    yield from (_folder(folder) for folder in (settings.home, *(settings.home / name for name in FOLDERS)))
    yield from _modules(settings)
    if settings.on_pause is not None:
        yield _try("paused jobs", lambda: _on_pause(settings), "Put it there, or correct ON_PAUSE.")
    yield _try("site key", lambda: _site_key(settings), "`omserver db upgrade` makes one for a new site.")
    database = _try("database", lambda: _database(settings), "Start it if need be; then: omserver db upgrade")
    yield database
    if database.good:
        yield _clock(settings)
        yield _try("audit", lambda: _audit(settings), "Find out who changed the database by hand.")
        files = sorted((settings.home / "keys").glob("*.key"))
        yield from (_key_file(file, settings) for file in files)
        if settings.executor == CELERY:
            yield _workers(settings)
        yield from _served(settings)
    if settings.executor == CELERY:
        yield _try(
            "broker", lambda: _broker(settings), "Start it, or correct BROKER_URL. Jobs go on without it."
        )
    yield _master(settings)
    yield _port("console", settings.web_host, settings.web_port, "WEB_PORT")


def _try(what: str, look: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(True, f"{what}: {look()}")
    except OMServerError as error:
        return Finding(False, f"{what}: {error}", remedy)


def _folder(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding(False, f"folder {folder} is missing", "Run: omserver db upgrade")
    mode = folder.stat().st_mode & 0o777
    return Finding(not mode & 0o077, f"folder {folder}, mode {mode:04o}", f"Run: chmod 700 {folder}")


def _modules(settings: Settings) -> Iterator[Finding]:
    """How many modules there are, and each that is broken; what takes longer than a list may is named."""
    with ChildPool() as pool:
        found = Registry(settings.modules_dir, pool).list()
    broken = {module.id: module.broken for module in found if module.broken is not None}
    slow = [number for number, fault in broken.items() if fault.reason == NOT_YET["reason"]]
    text = f"modules: {len(found)} in {settings.modules_dir}"
    text += f"; not looked at, since their code takes long: {', '.join(slow)}" * bool(slow)
    yield Finding(bool(found), text, "Set MODULES_DIR to the folder that holds Mid_1001.py and the others.")
    yield from (_broken(number, fault) for number, fault in broken.items() if number not in slow)


def _broken(number: str, fault: Broken) -> Finding:
    where = "" if fault.line is None else f" in line {fault.line}"
    return Finding(
        False,
        f"module {number} is broken{where}: {fault.reason}",
        "Correct its file; until then it runs nowhere.",
    )


def _on_pause(settings: Settings) -> str:
    check_on_pause(settings)
    return f"{settings.on_pause} is started"


def _site_key(settings: Settings) -> str:
    read_site_key(settings.site_key)
    return str(settings.site_key)


def _database(settings: Settings) -> str:
    engine = make_engine(settings.database_url)
    version = require_current(engine)
    ring = KeyRing(engine, read_site_key(settings.site_key))
    with read(engine) as conn:
        numbers = [row["kid"] for row in keys.list_keys(conn)]
    active = [number for number in numbers if ring.lookup(bytes.fromhex(number))]
    return f"{engine.dialect.name}, version {version}, {len(active)} client keys that open"


def _clock(settings: Settings) -> Finding:
    with read(make_engine(settings.database_url)) as conn:
        theirs = clock.now(conn)
    wrong = time.time() - theirs
    if abs(wrong) <= _MOST_WRONG:
        return Finding(True, "clock: as the database's")
    text = f"clock: {abs(wrong):.0f} s {'ahead of' if wrong > 0 else 'behind'} the database's"
    return Finding(False, text, "Let both machines keep their clocks right. Jobs go by the database's.")


def _audit(settings: Settings) -> str:
    with read(make_engine(settings.database_url)) as conn:
        return f"{audit.verify(conn, site=read_site_key(settings.site_key)).rows} rows, chain unbroken"


def _workers(settings: Settings) -> Finding:
    with read(make_engine(settings.database_url)) as conn:
        seen = [row["name"] for row in workers.list_workers(conn) if row["alive"]]
    text = f"workers: {len(seen)} seen within 30 s" + f" ({', '.join(seen)})" * bool(seen)
    return Finding(bool(seen), text, "Run `omserver celery` on the machines that are to carry out jobs.")


def _served(settings: Settings) -> Iterator[Finding]:
    """The connections that no worker serves, or of which nobody knows which machine it is that they mean."""
    with read(make_engine(settings.database_url)) as conn:
        rows = [row for row in connections.list_connections(conn) if row["enabled"]]
        running = set(workers.crew(conn).machines)
    # A master that has not been started yet will have workers here.
    there = running | ({settings.machine} if settings.executor == PROCESSES else set())
    for row in rows:
        name, names = row["name"], row["machines"] or []
        remedy = f"Name one: omctl connection set {name} --machine NAME"
        if names and there and not there & set(names):
            text = f"connection {name}: {none_runs(names)}; there are workers on {', '.join(sorted(there))}"
            yield Finding(False, text, f"Start one there, or name another: {remedy.partition(': ')[2]}")
        elif not names and row["kind"] in OF_ONE_MACHINE and len(running) > 1:
            text = f"connection {name} ({row['kind']}): it means whichever machine takes a job"
            yield Finding(False, f"{text}, of {', '.join(sorted(running))}", remedy)


def _broker(settings: Settings) -> str:
    """The broker's answer; never its URL, which may hold a password."""
    app = make_app(settings)
    try:
        reachable(app)
    except Exception as error:
        raise Unavailable(f"it cannot be reached: {str(error).rstrip('.?')}.") from error
    finally:
        app.close()
    return f"{urlsplit(settings.broker_url).hostname} answers"


def _key_file(file: Path, settings: Settings) -> Finding:
    return _try(
        f"key {file.name}",
        lambda: _known_key(file, settings),
        "Delete the file, and make another where it is needed: omserver key create",
    )


def _known_key(file: Path, settings: Settings) -> str:
    key = read_key(file)
    ring = KeyRing(make_engine(settings.database_url), read_site_key(settings.site_key))
    if ring.lookup(key.kid) is None:
        raise BadKeyFile("this master does not know it, or it was revoked.")
    return f"for {key.name}"


def _master(settings: Settings) -> Finding:
    """The master's port; what answers there must know the keys of this copy."""
    found = _port("master", settings.rpyc_host, settings.rpyc_port, "RPYC_PORT")
    key = next((file for name in ("omctl", "web") if (file := settings.key_for(name)).is_file()), None)
    if not found.text.endswith("answers"):
        return found
    remedy = "Set RPYC_PORT to another one: that is somebody else's."
    if settings.tls_cert is not None:  # it may be ours all the same, and not called by TLS or by its name
        remedy = "Give this program what `omserver tls make` printed for it. If that is no help: " + remedy
    if key is None:
        return Finding(False, f"{found.text}, and this copy has no keys yet", remedy)
    try:
        with connect(settings.rpyc_host, settings.rpyc_port, key, timeout=_PATIENCE * 2) as client:
            client.call("auth.whoami")
    except Refused:
        return found  # it opened our message: only nobody is logged in
    except OMServerError as error:
        return Finding(False, f"{found.text}, but not to the keys of this copy: {error}", remedy)
    return found


def _port(what: str, host: str, port: int, setting: str) -> Finding:
    where = f"{what} port {host}:{port}"
    try:
        with socket.create_connection((LISTENS_ON_ALL.get(host, host), port), timeout=_PATIENCE):
            return Finding(True, f"{where} answers")
    except ConnectionRefusedError:
        return _bindable(where, host, port, setting)
    except OSError as error:
        return Finding(False, f"{where}: {error}", f"Set {setting[:-5]}_HOST to an address of this machine.")


def _bindable(where: str, host: str, port: int, setting: str) -> Finding:
    try:
        with socket.create_server((host, port)):
            return Finding(True, f"{where} is free")
    except OSError as error:
        return Finding(False, f"{where}: {error.strerror}", f"Set {setting} to another one.")
