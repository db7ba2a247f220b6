"""Minions of our own daemon on loopback addresses, each with processes and files of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xmlrpc.client import Binary

from omserver_func.errors import CallFailed
from omserver_func.tls import client_context
from omserver_func.transport import MinionConnection
from omserver_master.backends import Target
from omserver_master.backends.func.backend import FuncBackend
from omserver_master.contract.work import Run
from tests.contract.rig import Rig
from tests.func.site import FuncSite
from tests.ports import free_port

_NAMES = ("func-01.lab.test", "func-02.lab.test", "func-03.lab.test")
#: The last host has the modules that a minion of the original has, and ours uses, and no others.
_ORIGINAL = "command, copyfile, test"
#: Folders for temporary files of its own; the tests and their Python stay where they are, though it be there.
_OWN_FILES = """
exec 7<"$1" 8<"$2" && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /var/tmp || exit 1
for kept in 7 8; do
    case $1 in
        /tmp/* | /var/tmp/*) mkdir -p "$1" && mount -c --bind "/proc/self/fd/$kept" "$1" || exit 1 ;;
    esac
    shift
done
exec "$@" 7<&- 8<&-
"""
_CHECKOUT = Path(__file__).resolve().parents[3]


class FuncRig(Rig):
    """Three minions in namespaces; a crowd is one process for each, forked from one."""

    kind = "func"
    # All run on the machine of the tests: a minion tells its name by the variable that it was started with.
    who = Run("echo $LOGNAME")

    def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="omf", dir="/dev/shm"))
        self.site = FuncSite(self._folder)
        self.site.port = free_port()
        self._minions: dict[str, subprocess.Popen[bytes]] = {}
        self._crowd: subprocess.Popen[bytes] | None = None
        self._crowd_hosts: list[Target] = []
        self.hosts = [Target(name, name, name, f"127.7.0.{at}") for at, name in enumerate(_NAMES, 1)]
        caller = self.site.identity("omserver", "caller")
        self.settings = {
            "ca_file": str(caller.ca),
            "cert_file": str(caller.cert),
            "key_file": str(caller.key),
            "certroot": str(self.site.files.cert_root),
            "groups_file": str(self._folder / "groups"),
            "port": self.site.port,
        }
        for host in self.hosts:
            self._prepare(host)
        for host in self.hosts:
            self._start(host)
        for host in self.hosts:
            self._wait_for(host)

    def stop(self) -> None:
        for process in (*self._minions.values(), *([self._crowd] if self._crowd else [])):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)

    def many(self, number: int) -> Sequence[Target]:
        if len(self._crowd_hosts) < number:
            assert self._crowd is None, "the crowd is as large as it was first asked for"
            names = {f"crowd-{at:03}.lab.test": f"127.7.1.{at + 1}" for at in range(number)}
            self._crowd_hosts = [Target(name, name, name, address) for name, address in names.items()]
            for host in self._crowd_hosts:
                self._prepare(host)
            self._crowd = subprocess.Popen(
                [sys.executable, "-m", "tests.func.crowd", json.dumps(names), str(self._folder)],
                start_new_session=True,
                stdout=subprocess.PIPE,
            )
            assert self._crowd.stdout is not None
            with self._crowd.stdout as said:
                assert said.readline() == b"ready\n"
        return self._crowd_hosts[:number]

    def processes(self, host: Target) -> Sequence[str]:
        listing = self._enter(host, ["ps", "axww", "-o", "args="])
        return listing.stdout.decode("utf-8", "replace").splitlines()

    def read(self, host: Target, path: str) -> bytes | None:
        done = self._enter(host, ["cat", "--", path])
        return done.stdout if done.returncode == 0 else None

    def first_process(self, host: Target) -> int:
        """The first process of the host, by the number that this machine knows it by."""
        outside = self._minions[host.name].pid
        children = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        return int(children[0]) if children else 1

    def stop_host(self, host: Target) -> None:
        process = self._minions.pop(host.name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)

    def start_host(self, host: Target) -> None:
        self._start(host)
        self._wait_for(host)

    def stop_control(self) -> None:
        """There is nothing between us and the minions but our own key: without it we are nobody."""
        key = Path(str(self.settings["key_file"]))
        key.rename(key.with_suffix(".away"))

    def start_control(self) -> None:
        key = Path(str(self.settings["key_file"]))
        key.with_suffix(".away").rename(key)

    @contextlib.contextmanager
    def lie(self, liar: Target, victim: Target) -> Iterator[Callable[[], int]]:
        """The liar knows every handle first, and calls the victim with its own certificate."""
        handles: list[str] = []
        told, over = [0], threading.Event()
        honest = FuncBackend.new_handle

        def new_handle(backend: FuncBackend) -> str:
            handles.append(honest(backend))
            self._forge(liar, victim, handles[-1])
            told[0] += 1
            return handles[-1]

        def go_on() -> None:
            while not over.wait(0.05):
                for handle in handles:
                    self._forge(liar, victim, handle)
                    told[0] += 1

        thread = threading.Thread(target=go_on, daemon=True)
        FuncBackend.new_handle = new_handle  # type: ignore[method-assign]
        thread.start()
        try:
            yield lambda: told[0]
        finally:
            over.set()
            thread.join(20)
            FuncBackend.new_handle = honest  # type: ignore[method-assign]

    def _forge(self, liar: Target, victim: Target, handle: str) -> None:
        forged = "om1 0 0 1.0 2.0 plain 0 0 Rk9SR0VE Rk9SR0VE end"
        arguments = [handle, ["echo", forged], Binary(b""), 1000, 0]
        context = client_context(self.site.identity(liar.name, "liar"))
        with MinionConnection(victim.name, context, self.site.port, address=victim.address) as minion:
            for method, words in (("omserver.run", arguments), ("omserver.cancel", [handle])):
                with contextlib.suppress(CallFailed, OSError):
                    minion.call(method, words, seconds=5)

    def _prepare(self, host: Target) -> None:
        name = host.name
        self.site.identity(name)
        caller = self.site.caller_key("omserver")
        self.site.config(name)
        self.site.grant(name, f"{caller} = omserver.*, command.run, copyfile.copyfile, jobs.job_status")
        (self._folder / f"{name}.conf").write_text(
            f"[main]\nminion_name = {name}\nlisten_addr = {host.address}\nlisten_port = {self.site.port}\n"
            f"acl_dir = {self._folder}/acls/{name}\nmodule_list = {_ORIGINAL if name == _NAMES[-1] else ''}\n"
            f"certmaster_overrides_acls = no\n"
            f"ca_file = {self.site.files.ca_cert}\ncert_file = {self._folder}/pki/{name}.cert\n"
            f"key_file = {self._folder}/pki/{name}.pem\n"
        )

    def _start(self, host: Target) -> None:
        daemon = [sys.executable, "-m", "omserver_func.funcd", "--config", f"{self._folder}/{host.name}.conf"]
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        log = (self._folder / f"{host.name}.log").open("ab")
        with log:
            self._minions[host.name] = subprocess.Popen(
                [*apart, "sh", "-c", _OWN_FILES, "sh", str(_CHECKOUT), sys.prefix, *daemon, "run"],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "LOGNAME": host.name},
            )

    def _wait_for(self, host: Target, seconds: float = 40) -> None:
        context = client_context(self.site.identity("omserver", "caller"))
        deadline = time.monotonic() + seconds
        with MinionConnection(host.name, context, self.site.port, address=host.address) as minion:
            while True:
                try:
                    minion.call("jobs.job_status", ["nothing"], seconds=5)
                    return
                except CallFailed as failed:
                    log = (self._folder / f"{host.name}.log").read_text(errors="replace")
                    if time.monotonic() > deadline:
                        raise AssertionError(f"{host.name}: {failed}\n{log}") from failed
                    time.sleep(0.05)

    def _enter(self, host: Target, argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        if host.name not in self._minions:
            return subprocess.CompletedProcess(argv, 1, b"", b"the host is off")
        enter = ["nsenter", "--target", str(self.first_process(host)), "--mount", "--pid"]
        return subprocess.run([*enter, *argv], capture_output=True, timeout=30)
