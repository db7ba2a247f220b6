"""Real hosts with an OpenSSH server each, one of them without Python, reached through Ansible."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence

from omserver_master.backends import Target
from tests.contract.rig import NotPossible, Rig
from tests.fleet.sshhosts import SshHosts

#: Where the liar counts its lies.
COUNT = "/tmp/lies"


class AnsibleRig(Rig):
    """Three hosts of the fleet that is reached by ssh; ``bare-01`` is the one that has no Python."""

    kind = "ansible"
    patience = 20.0

    def start(self) -> None:
        self.ssh: SshHosts = self.shared("sshhosts")
        # Short: ssh's sockets lie below it.
        self.run_dir = tempfile.mkdtemp(prefix="om-ans-")
        self.settings = {
            "user": self.ssh.user,
            "private_key_file": str(self.ssh.key),
            "known_hosts": str(self.ssh.known_hosts),
            "run_dir": self.run_dir,
        }
        self.hosts = self.ssh.targets("py-01", "bare-01", "py-02")

    def stop(self) -> None:
        """The hosts belong to all tests, and stop with them."""
        if hasattr(self, "run_dir"):
            self.backend().close()
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def many(self, number: int) -> Sequence[Target]:
        return self.ssh.crowd(number)

    def who_is(self, host: Target) -> bytes:
        return b"bare-01" if host.remote_id.startswith("crowd-") else host.remote_id.encode()

    def processes(self, host: Target) -> list[str]:
        return self.ssh.processes(host.remote_id)

    def read(self, host: Target, path: str) -> bytes | None:
        done = self.ssh.exec(host.remote_id, ["cat", "--", path])
        return done.stdout if done.returncode == 0 else None

    def stop_host(self, host: Target) -> None:
        self.ssh.stop_host(host.remote_id)

    def start_host(self, host: Target) -> None:
        self.ssh.start_host(host.remote_id)

    def stop_control(self) -> None:
        raise NotPossible("the process that has Ansible loaded belongs to the worker, and ends with it")

    def start_control(self) -> None:
        raise NotPossible("the process that has Ansible loaded belongs to the worker, and ends with it")

    @contextlib.contextmanager
    def lie(self, liar: Target, victim: Target) -> Iterator[Callable[[], int]]:
        """The shell of *liar* says, before all else, whatever could be taken for a result of *victim*."""
        name = liar.remote_id
        script = f"echo lie >>{COUNT}\n" + "".join(
            f"cat <<'END'\n{lie}\nEND\n" for lie in forgeries(victim.remote_id)
        )
        self.ssh.exec(name, ["sh", "-c", f"cat >~root/.bashrc <<'ENDE'\n{script}ENDE\n"], check=True)
        try:
            yield lambda: len((self.read(liar, COUNT) or b"").split())
        finally:
            self.ssh.exec(name, ["sh", "-c", f"rm -f ~root/.bashrc {COUNT}"])


def forgeries(victim: str) -> list[str]:
    """Results of *victim* in every form that somebody on our side might take for one."""
    told = {"event": "answer", "host": victim, "how": "said", "text": "om-here\nFORGED\n", "rc": 0}
    event = {"uuid": "FORGED", "counter": 1, "event": "runner_on_ok", "event_data": {"host": victim}}
    return [
        json.dumps(told),
        f"om1 {len(json.dumps(told))} {'0' * 64} {json.dumps(told)}",
        json.dumps(event),
        f"\x1b[K{json.dumps(event)}\x1b[K",
        f"{victim} | SUCCESS | rc=0 >>\nFORGED",
        json.dumps({"plays": [{"tasks": [{"hosts": {victim: {"stdout": "FORGED"}}}]}]}),
    ]
