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
from ..demo.fleet import Fleet, FleetError
from ..demo.furnish import ADMIN, ensure_hosts, furnish
from ..demo.house import House
from ..demo.keeper import kill_everybody
from ..demo.place import check_ports, own_folder
from ..demo.story import DemoFailed, refusing_interrupts, say, step
from ..settings import PREFIX, Settings, load_settings, open_home
from ..store.engine import make_engine
from .db import prepare

MINIONS = ("web-01", "web-02", "web-03")
MODULE = "1003"
#: Seconds between two looks at whether everything still runs.
LOOK = 0.5


@click.command("demo")
@click.option("--once", is_flag=True, help="End after the first result; exit 0 only if three hosts answered.")
def command(once: bool) -> None:
    """Run a Salt master, three minions, the master and the console here, until Ctrl-C."""
    settings = load_settings()
    open_home(settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's background job inherits SIGINT as ignored
        signal.signal(number, _interrupt)
    with own_folder(settings.home):
        check_ports(settings)
        sys.exit(_run(settings, once))


def _run(settings: Settings, once: bool) -> int:
    """Everything, from the first line to the last; the exit code."""
    say(f"OMServer demo, data in {settings.home}")
    try:
        with _stopping() as stack:
            return _lived(settings, once, stack)
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


def _lived(settings: Settings, once: bool, stack: ExitStack) -> int:
    with step("Preparing the database"):
        prepare(settings)
        engine = make_engine(settings.database_url)
        stack.callback(engine.dispose)
        password, demo_key = furnish(engine, settings)
    fleet = _salt(settings, stack)
    ensure_hosts(engine, fleet.hosts, fleet.connection_settings)
    with step("Starting the master"):
        house = stack.enter_context(House(settings, demo_key))
        client = stack.enter_context(house.master())
    with step("Starting the console"):
        house.wait_for_console()
    good = _run_module(client)
    if not good:
        say(f"Not every host answered well; the logs in {settings.home / 'logs'} may say why.")
    _tell(settings, password, once)
    if not once:
        _stay(house)
    return 0 if good else 1


def _salt(settings: Settings, stack: ExitStack) -> Fleet:
    say(f"  Starting a Salt master and {len(MINIONS)} minions (ten to twenty seconds)")
    try:
        return stack.enter_context(Fleet(settings.home, MINIONS, lambda line: say(f"    {line}")))
    except FleetError as error:
        raise DemoFailed(str(error)) from error


def _run_module(client: Client) -> bool:
    """Run the module on all minions through the whole path, and print each host's answer."""
    say(f"Running module {MODULE} on {', '.join(MINIONS)}")
    progress = Progress(console())
    job: dict[str, Any] = client.submit(MODULE, hosts=MINIONS, timeout=30)["job"]
    with progress.shown():
        end = follow(client, job["id"], progress.result, progress.job)
    return bool(end["counts"] == {"ok": len(MINIONS)})


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
