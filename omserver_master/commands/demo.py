"""``omserver demo``: a whole OMServer on this machine, with three real Salt minions."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from omserver_client import Client
from omserver_client.omctl.follow import Progress, follow
from omserver_client.omctl.show import console

from ..demo.children import adopt_orphans
from ..demo.fleet import Fleet
from ..demo.funcsite import FuncSite
from ..demo.furnish import ADMIN, ensure_hosts, furnish
from ..demo.house import House
from ..demo.keeper import kill_everybody
from ..demo.place import check_ports, own_folder
from ..demo.site import Site, SiteFailed
from ..demo.sshsite import SshSite
from ..demo.story import DemoFailed, refusing_interrupts, say, step
from ..settings import PREFIX, Settings, load_settings, open_home
from ..store.engine import make_engine
from .db import prepare

#: The hosts of each engine. Those of two engines are two each, so that the demo starts quickly.
HOSTS = {
    "salt": ("web-01", "web-02", "web-03"),
    "ansible": ("app-01", "app-02"),
    "ssh": ("edge-01", "edge-02"),
    "func": ("db-01", "db-02"),
}
MODULE = "1003"
#: Seconds between two looks at whether everything still runs.
LOOK = 0.5


def _engines(context: click.Context, option: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, text.replace(",", " ").split())))
    wrong = [name for name in names if name not in HOSTS]
    if wrong or not names:
        known = ", ".join(HOSTS)
        raise click.BadParameter(f"{', '.join(wrong) or 'nothing'}: the demo has hosts for {known}.")
    return names


@click.command("demo")
@click.option("--once", is_flag=True, help="End after the first result; exit 0 only if all hosts answered.")
@click.option(
    "--engines", default="salt", callback=_engines, help="Whose hosts to start: salt,ansible,ssh,func; salt."
)
def command(once: bool, engines: tuple[str, ...]) -> None:
    """Run hosts (a Salt master and three minions), the master and the console here, until Ctrl-C."""
    settings = load_settings()
    open_home(settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's background job inherits SIGINT as ignored
        signal.signal(number, _interrupt)
    with own_folder(settings.home):
        check_ports(settings)
        sys.exit(_run(settings, once, engines))


def _run(settings: Settings, once: bool, engines: tuple[str, ...]) -> int:
    """Everything, from the first line to the last; the exit code."""
    say(f"OMServer demo, data in {settings.home}")
    try:
        with _stopping() as stack:
            return _lived(settings, once, engines, stack)
    except KeyboardInterrupt:
        return 130


@contextmanager
def _stopping() -> Iterator[ExitStack]:
    """Undo at the end, whatever happened, all that was entered; then no process is left."""
    adopt_orphans()
    with ExitStack() as stack:
        try:
            yield stack
        finally:
            say()
            with refusing_interrupts(), step("Stopping"):
                stack.close()
                kill_everybody()


def _lived(settings: Settings, once: bool, engines: tuple[str, ...], stack: ExitStack) -> int:
    with step("Preparing the database"):
        prepare(settings)
        engine = make_engine(settings.database_url)
        stack.callback(engine.dispose)
        password, demo_key = furnish(engine, settings)
    sites = [_started(name, settings, stack) for name in engines]
    ensure_hosts(engine, sites)
    with step("Starting the master"):
        house = stack.enter_context(House(settings, demo_key))
        client = stack.enter_context(house.master())
    with step("Starting the console"):
        house.wait_for_console()
    good = _run_module(client, [host.name for site in sites for host in site.hosts])
    if not good:
        say(f"Not every host answered well; the logs in {settings.home / 'logs'} may say why.")
    _tell(settings, password, once)
    if not once:
        _stay(house)
    return 0 if good else 1


def _started(name: str, settings: Settings, stack: ExitStack) -> Site:
    """The hosts of one engine, which answer."""

    def tell(line: str) -> None:
        say(f"    {line}")

    hosts = HOSTS[name]
    if name == "salt":
        say(f"  Starting a Salt master and {len(hosts)} minions (ten to twenty seconds)")
    else:
        say(f"  Starting {len(hosts)} hosts for {name}")
    try:
        if name == "salt":
            return stack.enter_context(Fleet(settings.home, hosts, tell))
        if name == "func":
            return stack.enter_context(FuncSite(settings.home, hosts, tell))
        return stack.enter_context(SshSite(name, settings.home, hosts, tell))
    except SiteFailed as error:
        raise DemoFailed(str(error)) from error


def _run_module(client: Client, names: list[str]) -> bool:
    """Run the module on all hosts through the whole path, and print each host's answer."""
    say(f"Running module {MODULE} on {', '.join(names)}")
    progress = Progress(console())
    job: dict[str, Any] = client.submit(MODULE, hosts=names, timeout=30)["job"]
    with progress.shown():
        end = follow(client, job["id"], progress.result, progress.job)
    return bool(end["counts"] == {"ok": len(names)})


def _tell(settings: Settings, password: str | None, once: bool) -> None:
    """Where to click, and how to sign in."""
    programs = Path(os.path.relpath(Path(sys.executable).parent))
    when = "The next demo that stays is at" if once else "Open"
    say(f"\n{when} http://{settings.web_host}:{settings.web_port} ; sign in as {ADMIN}")
    if password:
        say(f"  password: {password}   (shown this once)")
    say(f"  a new password: {_environment()}{programs}/omserver user reset-password {ADMIN}")
    say(f"From a shell: {_environment()}{programs}/omctl login {ADMIN}")


def _environment() -> str:
    """Our settings from the environment, for a command line that means the same copy."""
    named = [
        name for name in sorted(os.environ) if name.startswith(PREFIX) and name != f"{PREFIX}DATABASE_URL"
    ]
    return "".join(f"{name}={shlex.quote(os.environ[name])} " for name in named)


def _stay(house: House) -> None:
    """Until somebody interrupts; if something ends by itself, that is an error."""
    say("\nEverything runs. Ctrl-C stops it.")
    with suppress(KeyboardInterrupt):
        while True:
            house.check()
            time.sleep(LOOK)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
