"""The overlord's client, shaped as programs of Func's time know it.

    overlord = Overlord("web*;@databases", timeout=30)
    overlord.command.run("uptime")                    # {host: [0, "...", ""] or ["REMOTE_ERROR", ...]}
    overlord.run("iptables.port", "drop_from", ["1.2.3.4"])

A host that fails never raises: its error list stands in the place of its result.
"""

from __future__ import annotations

import ssl
import time
import xmlrpc.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from .config import PORT, OverlordConfig
from .errors import CallFailed, FuncClientError, error_of
from .local import Local
from .names import HostList
from .overlordjobs import OverlordJobs
from .tls import client_context
from .transport import MinionConnection
from .wire import write_request

#: Seconds that a minion may be silent, and that one call may take, where nothing else is said.
DEFAULT_TIMEOUT = 60.0
DEFAULT_CALL_SECONDS = 3600.0
_NO = ("false", "f", "n", "0", "")


class Overlord:
    """Calls methods on many minions; see the top of the file.

    *server_spec* says on which: see `names.py`. *nforks* is how many are called at once. *timeout* bounds
    each silence of a minion, *call_seconds* a whole call. With *async_* (or ``**{"async": True}``) a call
    answers a job id for `job_status`. *verify_minion_name*: a minion's certificate must be its own.

    Raises:
        FuncClientError: no host matches, there are no certificates to show, or a thing is asked for that is
            not done here.
    """

    def __init__(
        self,
        server_spec: str,
        port: int = PORT,
        interactive: bool = False,
        verbose: bool = False,
        noglobs: bool = False,
        nforks: int = 1,
        config: OverlordConfig | None = None,
        async_: bool | str = False,
        init_ssl: bool = True,
        delegate: bool = False,
        mapfile: str = "",
        timeout: float | None = None,
        exclude_spec: str | None = None,
        *,
        verify_minion_name: bool = True,
        call_seconds: float = DEFAULT_CALL_SECONDS,
        puppet_minions: bool = False,
        **more: Any,
    ) -> None:
        in_background = more.pop("async", async_)
        if more:
            raise TypeError(f"Overlord knows no argument {', '.join(sorted(more))}.")
        if delegate or puppet_minions:
            raise FuncClientError("Delegation and lists of hosts from Puppet are not supported.")
        self.config = config or OverlordConfig.read()
        self.server_spec = server_spec
        self.port = port if port != PORT else self.config.port
        self.noglobs, self.nforks = noglobs, max(1, int(nforks))
        self.async_ = str(in_background).lower() not in _NO and bool(in_background)
        self.timeout = timeout or self.config.timeout or DEFAULT_TIMEOUT
        self.call_seconds = call_seconds
        self.verify_minion_name = verify_minion_name
        self._hosts = HostList(
            self.config.cert_root,
            self.config.groups_file,
            self.config.down_file,
            self.config.peer_root,
            self.config.allow_unknown,
        )
        self.minions = sorted(self._hosts.match(server_spec, exclude_spec or ""))
        self._called = [name for name in self.minions if name not in self._hosts.down()]
        if not self._called:
            raise FuncClientError(f'Can\'t find any minions matching "{server_spec}".')
        self._context = self._tls() if init_ssl else None
        self._jobs = OverlordJobs(self.config.jobs_folder)
        self.local = Local(self)

    def __getattr__(self, name: str) -> _Name:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self, (name,))

    def list_minions(self) -> list[str]:
        """The hosts that match, those that are down with them."""
        return list(self.minions)

    def run(self, module: str, method: str, args: Sequence[Any] = (), nforks: int = 0) -> Any:
        """{host: result}; with *noglobs* the first host's result; with *async_* a job id."""
        name = f"{module}.{method}"
        if self.async_:
            job_id = _job_id(self.server_spec, module, method)
            submit = partial(self.call_each, f"async.{name}", args, self._called, nforks)
            return self._jobs.start(job_id, self._called, submit)
        results = self.call_each(name, args, self._called, nforks)
        return results[self._called[0]] if self.noglobs else results

    def job_status(self, job_id: str) -> tuple[int, Any]:
        """(status, result or {host: result}); see `overlordjobs.py`."""
        return self._jobs.status(job_id, self.call_some)

    def open_job_ids(self) -> dict[str, int]:
        """The jobs that are not finished, with their status."""
        return self._jobs.open()

    def call_each(
        self, name: str, args: Sequence[Any], hosts: Sequence[str], nforks: int = 0
    ) -> dict[str, Any]:
        """The result of the same call on each of *hosts*."""
        return self.call_some(dict.fromkeys(hosts, (name, args)), nforks)

    def call_some(self, calls: dict[str, tuple[str, Sequence[Any]]], nforks: int = 0) -> dict[str, Any]:
        """The result of one call per host."""
        for _, args in calls.values():
            write_request("", args)  # what can't be sent is the caller's mistake
        if not calls:
            return {}
        with ThreadPoolExecutor(max_workers=min(nforks or self.nforks, len(calls))) as threads:
            running = {host: threads.submit(self._call, host, *call) for host, call in calls.items()}
            return {host: one.result() for host, one in running.items()}

    def _call(self, host: str, name: str, args: Sequence[Any]) -> Any:
        if self._context is None:
            self._context = self._tls()
        minion = MinionConnection(host, self._context, self.port, verify_name=self.verify_minion_name)
        try:
            with minion:
                return minion.call(name, args, seconds=self.call_seconds, wait=self.timeout)
        except (CallFailed, xmlrpc.client.Fault) as error:
            return error_of(error)

    def _tls(self) -> ssl.SSLContext:
        if self.config.identity is None:
            raise FuncClientError(
                "There is no certificate to show: name key_file, cert_file and ca_file in overlord.conf."
            )
        try:
            return client_context(self.config.identity, self.config.profile)
        except OSError as error:
            raise FuncClientError(f"The overlord's certificate can't be used: {error}") from error


class Client(Overlord):
    """Another name for `Overlord`."""


class _Name:
    """``overlord.module.method`` on its way to a call."""

    def __init__(self, overlord: Overlord, path: tuple[str, ...]) -> None:
        self._overlord, self._path = overlord, path

    def __getattr__(self, name: str) -> _Name:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self._overlord, (*self._path, name))

    def __call__(self, *args: Any) -> Any:
        if len(self._path) < 2:
            raise AttributeError(f"no method called: {self._path[0]}")
        return self._overlord.run(".".join(self._path[:-1]), self._path[-1], args)


def _job_id(spec: str, module: str, method: str) -> str:
    words = (word.replace("-", "_") for word in (spec, module, method))
    return "-".join([*words, f"{time.time():.6f}"])
