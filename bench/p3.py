"""P3: one command on hosts with a real sshd, through Ansible and through plain ssh.

Both sides have the same ansible.cfg, and by it as many forks and the same way to reuse connections.
Theirs are Ansible's command line, and ansible-runner's ``run_command`` in a process that has imported it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from omserver_client import Client
from omserver_master.backends.base import Target
from omserver_master.store import connections, hosts
from omserver_master.store.engine import begin
from tests.fleet.sshhosts import SshHosts, why_not
from tests.system import System

from .pairs import Compared, Work, compare, timed
from .saltrows import MODULE, SOURCE, NotHere

#: Hosts of the rows with many; of `CROWD` there are no more than few pairs: one takes a minute.
MANY, CROWD = 50, 1000
CROWD_PAIRS = 3
FORKS = 10
#: The connections of the OMServer. Cold: connections are not kept open.
ANSIBLE, PIPELINING, SSH, SSH_COLD = "ansible", "ansible-pipelining", "ssh", "ssh-cold"
_CONFIG = """\
[defaults]
forks = {forks}
remote_user = root
private_key_file = {key}
interpreter_python = /usr/bin/python3
[ssh_connection]
ssh_args = -o ControlMaster={master} -o ControlPersist={persist} -o UserKnownHostsFile={known}
pipelining = {pipelining}
"""


@dataclass
class _Rig:
    client: Client
    folder: Path
    one: str
    many: Sequence[Target]

    def ours(self, way: str, names: Sequence[str]) -> Work:
        def run() -> None:
            wanted = [f"{way}-{name}" for name in names]
            done = self.client.run(MODULE, wanted, confirm=None)
            states = {result["state"] for result in done["results"]}
            assert (len(done["results"]), states) == (len(names), {"ok"}), done["job"]

        return timed(run)

    def theirs(self, way: str, pattern: str, module: str) -> list[str]:
        arguments = ["-i", str(self.folder / "inventory"), pattern, "-m", module, "-a", "true"]
        return [str(Path(sys.executable).with_name("ansible")), *arguments]

    def environment(self, way: str) -> dict[str, str]:
        return {**os.environ, "ANSIBLE_CONFIG": str(self.folder / f"{way}.cfg")}

    def cli(self, way: str, pattern: str, module: str = "command") -> Work:
        words = self.theirs(way, pattern, module)

        def run() -> None:
            subprocess.run(words, env=self.environment(way), capture_output=True, timeout=300, check=True)

        return timed(run)

    def runner(self, way: str, pattern: str, module: str = "command") -> Work:
        import ansible_runner

        words = self.theirs(way, pattern, module)

        def run() -> None:
            _, _, code = ansible_runner.run_command(
                words[0], words[1:], envvars=self.environment(way), quiet=True
            )
            assert code == 0

        return timed(run)


def measure(pairs: int, only: str = "") -> list[Compared]:
    """All comparisons of this row whose name has *only* in it."""
    found: list[Compared] = []
    with _rig(only) as rig:
        one, many = [rig.one], [host.name for host in rig.many[:MANY]]
        rows: list[tuple[str, Callable[[], Work], str, Callable[[], Work], float | None]] = []
        for way, what, target in ((ANSIBLE, "1 host", 0.6), (PIPELINING, "1 host, pipelining", None)):
            rows += _both(rig, way, what, one, rig.one, target)
        rows += _both(rig, ANSIBLE, f"{MANY} hosts", many, "many", 1.0)
        raw = "ansible -m raw"
        for way, config, what, target in (
            (SSH_COLD, "cold", f"{MANY} hosts by ssh, cold", 0.8),
            (SSH, ANSIBLE, f"{MANY} hosts by ssh, connections open", 0.5),
        ):
            rows.append(
                (
                    what,
                    lambda way=way: rig.ours(way, many),  # type: ignore[misc]
                    raw,
                    lambda config=config: rig.cli(config, "many", "raw"),  # type: ignore[misc]
                    target,
                )
            )
        for what, ours, name, theirs, target in rows:
            if only in what:
                found.append(
                    compare(what, ("OMServer", ours()), (name, theirs()), pairs=pairs, target=target)
                )
        what = f"{CROWD} hosts by ssh, cold"
        if only in what and pairs > 2:
            limit = ("a minute", lambda: 60.0)
            ours = ("OMServer", rig.ours(SSH_COLD, [host.name for host in rig.many]))
            found.append(compare(what, ours, limit, pairs=min(pairs, CROWD_PAIRS), warm=0))
    return found


def _both(
    rig: _Rig, way: str, what: str, names: Sequence[str], pattern: str, target: float | None
) -> list[tuple[str, Callable[[], Work], str, Callable[[], Work], float | None]]:
    # The many have no Python; there ours is raw, too.
    module = "command" if pattern == rig.one else "raw"
    return [
        (what, lambda: rig.ours(way, names), "ansible", lambda: rig.cli(way, pattern, module), target),
        (what, lambda: rig.ours(way, names), "run_command", lambda: rig.runner(way, pattern, module), target),
    ]


@contextmanager
def _rig(only: str) -> Iterator[_Rig]:
    if reason := why_not():
        raise NotHere(reason)
    fleet = SshHosts()
    with ExitStack() as stack:
        # Short: ssh's sockets lie below it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="omb", dir="/tmp")))
        stack.callback(fleet.stop)
        fleet.start()
        many = fleet.crowd(CROWD)
        one = fleet.targets("py-01")
        _write_files(folder, fleet, [*one, *many[:MANY]])
        modules = folder / "modules"
        modules.mkdir()
        (modules / f"Mid_{MODULE}.py").write_text(SOURCE)
        system = System(folder / "home", modules_dir=modules, workers=1)
        common = {"run_dir": str(folder / "run")}
        (folder / "run").mkdir(mode=0o700)
        _furnish(
            system,
            {
                ANSIBLE: ("ansible", {**common, "config": str(folder / f"{ANSIBLE}.cfg")}),
                PIPELINING: ("ansible", {**common, "config": str(folder / f"{PIPELINING}.cfg")}),
                SSH: ("ssh", fleet.connection_settings),
                SSH_COLD: ("ssh", fleet.connection_settings | {"keep": 0}),
            },
            [*one, *many],
        )
        stack.enter_context(closing(system.start()))
        client = stack.enter_context(closing(system.client()))
        client.timeout = 300.0
        yield _Rig(client, folder, one[0].name, many)


def _write_files(folder: Path, fleet: SshHosts, targets: Sequence[Target]) -> None:
    kinds = {ANSIBLE: ("auto", "60s", False), PIPELINING: ("auto", "60s", True), "cold": ("no", "no", False)}
    for name, (master, persist, pipelining) in kinds.items():
        text = _CONFIG.format(
            forks=FORKS,
            key=fleet.key,
            known=fleet.known_hosts,
            master=master,
            persist=persist,
            pipelining=pipelining,
        )
        (folder / f"{name}.cfg").write_text(text)
    lines = [f"{host.name} ansible_host={host.address}" for host in targets]
    (folder / "inventory").write_text("\n".join([lines[0], "[many]", *lines[1:], ""]))


def _furnish(
    system: System, ways: dict[str, tuple[str, dict[str, object]]], targets: Sequence[Target]
) -> None:
    numbers = {way: system.add_connection(way, kind, settings) for way, (kind, settings) in ways.items()}
    with begin(system.engine) as conn:
        app = hosts.add_app(conn, hosts.add_category(conn, "Linux.Web"), "www.domain.com")
        for way, number in numbers.items():
            for target in targets:
                host = hosts.add_host(
                    conn, f"{way}-{target.name}", lip=target.address, os="Debian", app_id=app
                )
                connections.link_host(conn, host, number, target.name)
