"""A real Salt master with minions and a salt-api, an OMServer before it, and the ways to do the same work."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from omserver_client import Client
from omserver_master.backends import Target, make_backend
from omserver_master.contract.work import Run
from tests.fleet.fleet import SaltFleet, why_not
from tests.system import System

#: The connections of the OMServer, and the beginnings of the hosts' names on each.
SALT, API, PLAIN = "salt", "salt-api", "unsigned"
MODULE = "2001"
SOURCE = '''"""Do nothing."""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    repeat = "read_only"
    command = ("true",)
'''
_CLI = "import sys; from salt.scripts import salt_main; salt_main()"


class NotHere(RuntimeError):
    """The row cannot be measured on this machine."""


@dataclass
class Rig:
    """What the rows P1 and P2 measure with; *minions* are names that are hosts' names on each connection."""

    system: System
    minions: tuple[str, ...]
    master_file: Path
    api: dict[str, str]
    salt: dict[str, Any]

    def host(self, way: str, minion: str) -> str:
        """The name of the host that is *minion* over the connection *way*."""
        return f"{way}-{minion}"

    def runner(self, client: Client, way: str, minion: str) -> Callable[[], None]:
        """One job that does nothing, to its durable result."""

        def run() -> None:
            done = client.run(MODULE, [self.host(way, minion)])
            [result] = done["results"]
            assert result["state"] == "ok", result

        return run

    def cli(self, minion: str) -> Callable[[], None]:
        """Salt's own command line."""
        words = [sys.executable, "-c", _CLI, "-c", str(self.master_file.parent), minion, "test.ping"]

        def run() -> None:
            done = subprocess.run([*words, "--out=json"], capture_output=True, timeout=60, check=True)
            assert json.loads(done.stdout) == {minion: True}

        return run

    def local(self, minion: str, function: str = "test.ping", **more: Any) -> Callable[[], None]:
        """Salt's library, in this process."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from salt.client import LocalClient
        client = LocalClient(str(self.master_file))

        def run() -> None:
            assert minion in client.cmd(minion, function, **more)

        return run

    def local_shell(self, minion: str) -> Callable[[], None]:
        """Salt's library, starting what a job of ours starts on the host."""
        return self.local(minion, "cmd.run_all", kwarg=_our_shell())

    def api_shell(self, minion: str) -> Callable[[], None]:
        """salt-api by itself, starting what a job of ours starts on the host."""
        return self.bare_api(minion, fun="cmd.run_all", kwarg=_our_shell())

    @contextmanager
    def engine(self) -> Iterator[Callable[[str], Callable[[], None]]]:
        """What reaches Salt for us, in this process, with nothing of OMServer around it.

        Only for the block: it hears all events, which is work of this process.
        """
        backend = make_backend("salt", SALT, self.salt)

        def runner(minion: str) -> Callable[[], None]:
            host = Target("1", minion, minion)

            def run() -> None:
                until = time.monotonic() + 60
                [(_, answer)] = backend.run(Run(["true"]), [host], backend.new_handle(), until)
                assert answer.rc == 0, answer

            return run

        with closing(backend):
            yield runner

    def bare_api(self, minion: str, **order: Any) -> Callable[[], None]:
        """salt-api by itself: one connection that stays open, one token, one request per job."""
        session = requests.Session()
        session.trust_env = False  # else a variable of the environment overrides the next line
        session.verify = self.api["ca_file"]
        login = {"username": self.api["user"], "eauth": self.api["eauth"]}
        login |= {"password": self.api["password"], "sharedsecret": self.api["password"]}
        said = session.post(f"{self.api['url']}/login", json=login, timeout=30)
        said.raise_for_status()
        session.headers["X-Auth-Token"] = said.json()["return"][0]["token"]
        order = {"client": "local", "tgt": [minion], "tgt_type": "list", "fun": "test.ping"} | order

        def run() -> None:
            answer = session.post(self.api["url"], json=[order], timeout=60)
            assert answer.json()["return"][0][minion], answer.text

        return run


def _our_shell() -> dict[str, Any]:
    """The arguments of ``cmd.run_all`` for a job of ours that runs ``true``."""
    from omserver_master.backends.onhost import pack
    from omserver_master.backends.salt.job import new_jid
    from omserver_master.backends.salt.proof import WORK, signed_command

    stdin = pack(Run(["true"]), 60).decode()
    quiet = {"python_shell": False, "output_loglevel": "quiet", "ignore_retcode": True}
    return {"cmd": signed_command(new_jid(), "", WORK), "stdin": stdin, "reset_system_locale": False} | quiet


class _Fleet(SaltFleet):
    """A fleet whose salt-api also lets others wait for a job's end, as they are used to."""

    def _master_command(self, config: Path) -> list[str]:
        options = json.loads((config / "master").read_text())
        options["netapi_enable_clients"].append("local")
        (config / "master").write_text(json.dumps(options, indent=1))
        return super()._master_command(config)


@contextmanager
def salt_rig(minions: int) -> Iterator[Rig]:
    """All of it, for as long as the block takes.

    Raises:
        NotHere: this machine allows no hosts of their own.
    """
    if reason := why_not():
        raise NotHere(reason)
    names = tuple(f"web-{number:02}" for number in range(1, minions + 1))
    fleet = _Fleet(dict.fromkeys(names, "bare"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="omserver-bench-")))
        stack.callback(fleet.stop)
        fleet.start()
        modules = folder / "modules"
        modules.mkdir()
        (modules / f"Mid_{MODULE}.py").write_text(SOURCE)
        system = System(folder / "home", modules_dir=modules, workers=2)
        _furnish(system, fleet, names)
        stack.enter_context(closing(system.start()))
        master_file = Path(fleet.connection_settings["config_dir"]) / "master"
        yield Rig(system, names, master_file, fleet.api_settings, fleet.connection_settings)


def _furnish(system: System, fleet: SaltFleet, names: tuple[str, ...]) -> None:
    from omserver_master.store import connections, hosts
    from omserver_master.store.engine import begin

    ways = {
        SALT: ("salt", fleet.connection_settings),
        API: ("salt-api", fleet.api_settings),
        PLAIN: ("salt", fleet.connection_settings | {"proof": "off"}),
    }
    numbers = {way: system.add_connection(way, kind, settings) for way, (kind, settings) in ways.items()}
    with begin(system.engine) as conn:
        app = hosts.add_app(conn, hosts.add_category(conn, "Linux.Web"), "www.domain.com")
        for way, number in numbers.items():
            for name in names:
                host = hosts.add_host(conn, f"{way}-{name}", lip="10.0.0.1", os="Debian", app_id=app)
                connections.link_host(conn, host, number, name)
