"""The client: every operation of the master as a method.

with connect(key="~/.omserver/keys/omctl.key") as client:
    client.login("admin", "...")
    done = client.run("1003", ["web-01"])
"""

from __future__ import annotations

import os
import ssl
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .fleet import ConnectionCalls, HostCalls
from .keyfile import Key, read_key
from .link import Link
from .messages import LIFE, Reply, Request, TaskRequest
from .taskstring import Task
from .tls import context_from_environment
from .transport import Transport

HOST = "127.0.0.1"
PORT = 11511
#: How long an operation may take, in seconds, on top of what the master was asked to wait.
TIMEOUT = 30.0
#: How long ``runcommands`` waits, in seconds: the master answers after 600 at the latest.
TASK_TIMEOUT = 660.0
#: How long one long poll of `Client.watch` waits, in seconds.
POLL = 20.0
#: States in which a job is over.
ENDED = frozenset({"succeeded", "failed", "cancelled", "interrupted", "expired"})

#: Operations that do no harm if done twice; what is not named here is repeated under an idempotency key only.
_REPEATABLE = frozenset(
    {
        "auth.login",
        "auth.logout",
        "auth.whoami",
        "modules.list",
        "modules.show",
        "hosts.categories",
        "hosts.list",
        "hosts.show",
        "hosts.set",
        "import.preview",
        "import.rows",
        "connections.kinds",
        "connections.list",
        "connections.show",
        "connections.set",
        "connections.enable",
        "connections.disable",
        "connections.try",
        "job.preview",
        "job.rerun_preview",
        "job.list",
        "job.show",
        "job.results",
        "job.output",
        "job.events",
        "job.cancel",
        "job.pause",
        "job.resume",
        "job.pin",
        "job.unpin",
        "audit.list",
        "people.list",
        "status",
    }
)

Json = dict[str, Any]
#: By name, or in the order of the form.
Params = Mapping[str, Any] | Sequence[Any] | None
#: One name, or several of: a name, ``{"id": 7}``, ``{"name": ..., "ip": ...}``.
Hosts = str | Iterable[str | Mapping[str, Any]]


def connect(
    host: str | None = None,
    port: int | None = None,
    key: Key | Path | str | None = None,
    session: str | None = None,
    timeout: float = TIMEOUT,
    tls: ssl.SSLContext | None = None,
) -> Client:
    """Connect to the master.

    What is not given comes from ``OMSERVER_RPYC_HOST``, ``OMSERVER_RPYC_PORT`` and ``OMSERVER_KEY_FILE``,
    else 127.0.0.1, 11511 and ``keys/omctl.key`` in ``OMSERVER_HOME`` (``~/.omserver``). A master on another
    machine needs *tls*, or ``OMSERVER_CA_FILE``.

    Raises:
        NotReached: the master does not answer.
        BadKeyFile: the key file cannot be used.
    """
    host = host or os.environ.get("OMSERVER_RPYC_HOST") or HOST
    port = port or int(os.environ.get("OMSERVER_RPYC_PORT") or PORT)
    key = key if isinstance(key, Key) else read_key(key or _default_key_file())
    tls = tls or context_from_environment(os.environ)
    client = Client(partial(Transport, host, port, tls=tls), key, session, timeout)
    client.open()
    return client


class Client(ConnectionCalls, HostCalls):
    """The operations of the master, as the program that *key* names and the person of *session*.

    One request at a time: threads may share a client, but they wait for each other, so a long poll deserves a
    client of its own. If the connection is lost before the answer, the request is sent once more over a new
    one, where a repeat does no harm. A submitted job carries an idempotency key: a repeat finds the same job.

    Every method raises `NotReached` (the master is down or silent), `SealRefused` (it does not know our key)
    and `Refused`, or one of its subclasses (it said no).
    """

    def __init__(
        self, dial: Callable[[], Transport], key: Key, session: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        self.session = session
        self.timeout = timeout
        self._link = Link(dial, key, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Connect now instead of at the first request."""
        self._link.open()

    def close(self) -> None:
        """Close the connection. A later request opens another."""
        self._link.close()

    # Who am I

    def login(self, user: str, password: str) -> Json:
        """Log in; later requests are this person's: ``{session, user, role, expires_at, idle_seconds}``."""
        answer = self.call("auth.login", {"user": user, "password": password})
        self.session = str(answer["session"])
        return answer

    def logout(self) -> None:
        """End the session."""
        self.call("auth.logout")
        self.session = None

    def whoami(self) -> Json:
        """Who the master takes us for: ``{user, role, key, expires_at}``."""
        return self.call("auth.whoami")

    def change_password(self, old: str, new: str) -> None:
        """Change the password of the person logged in."""
        self.call("auth.password", {"old": old, "new": new})

    # What there is

    def modules(self) -> list[Json]:
        """All modules, broken ones too."""
        return _list(self.call("modules.list"), "modules")

    def module(self, module: str | int) -> Json:
        """One module, with ``source_sha256`` and ``doc``."""
        return self.call("modules.show", {"module": str(module)})

    def categories(self) -> list[Json]:
        """Function categories and the application categories in them, with numbers of hosts."""
        return _list(self.call("hosts.categories"), "categories")

    def hosts(self, **filters: Any) -> Json:
        """Hosts: ``{hosts, total}``. *filters*: ``categ_id, app_id, search, limit, offset``."""
        return self.call("hosts.list", filters)

    def people(self) -> list[Json]:
        """The accounts and their grants; for admins."""
        return _list(self.call("people.list"), "people")

    def audit(self, **filters: Any) -> Json:
        """The audit: ``{rows, more}``; for admins. *filters*: ``limit``, ``before``, ``user``, ``action``."""
        return self.call("audit.list", filters)

    def status(self) -> Json:
        """How the master, its database, workers and connections are."""
        return self.call("status")

    # Jobs

    def preview(
        self,
        module: str | int,
        params: Params = None,
        hosts: Hosts = (),
        *,
        dry_run: bool = False,
        rollout: Mapping[str, Any] | None = None,
        locks: Sequence[str] = (),
        lock_mode: str | None = None,
    ) -> Json:
        """What `submit` would do: ``{module, params, hosts, warnings, confirm, omctl}`` and the options."""
        given = _given({"dry_run": dry_run or None, "rollout": rollout, "lock_mode": lock_mode})
        given |= {"locks": list(locks)} if locks else {}
        return self.call("job.preview", _work(module, params, hosts) | given)

    def submit(
        self,
        module: str | int,
        params: Params = None,
        hosts: Hosts = (),
        *,
        key: str | None = None,
        **options: Any,
    ) -> Json:
        """Submit a job: ``{job, repeated}``.

        *key* is the idempotency key (by default a fresh one); *options* are ``confirm``, ``timeout`` and
        ``start_before`` (seconds), ``dry_run``, ``rollout``: how it goes over its hosts (docs/jobs.md),
        ``until`` (unix seconds): until when hosts that are unreachable are tried again, and ``locks`` (names;
        ``host``: each host) with ``lock_mode``: what to do while another job holds one (``queue``, ``skip``,
        ``refuse``).

        Raises:
            Locked: with ``refuse``, another job has one of the locks.
        """
        args = _work(module, params, hosts) | _given(options)
        return self.call("job.submit", args, key=key or str(uuid.uuid4()))

    def rerun(
        self,
        job: int,
        *,
        on: str | None = None,
        hosts: Hosts = (),
        key: str | None = None,
        **options: Any,
    ) -> Json:
        """Do a job again on some of its hosts: ``{job, repeated}``.

        Either *on*, how they ended there (``failed``, ``unreachable``, ``unfinished``, ``all``), or *hosts*.
        *options* are ``confirm``, ``dry_run`` and ``until``, as of `submit`.
        """
        args = _again(job, on, hosts) | _given(options)
        return self.call("job.rerun", args, key=key or str(uuid.uuid4()))

    def preview_rerun(
        self, job: int, *, on: str | None = None, hosts: Hosts = (), dry_run: bool | None = None
    ) -> Json:
        """What `rerun` would do, as `preview` says it."""
        return self.call("job.rerun_preview", _again(job, on, hosts) | _given({"dry_run": dry_run}))

    def job(self, job: int) -> Json:
        """One job."""
        return dict(self.call("job.show", {"job": job})["job"])

    def jobs(self, **filters: Any) -> Json:
        """Jobs, newest first: ``{jobs, more}``. *filters*: as ``job.list`` takes them."""
        return self.call("job.list", filters)

    def results(self, job: int, **filters: Any) -> Json:
        """A job's results per host: ``{results, more}``. *filters*: ``state``, ``limit``, ``after``."""
        return self.call("job.results", {"job": job} | filters)

    def output(
        self, job: int, host_id: int, stream: str = "stdout", offset: int = 0, limit: int = 262144
    ) -> Json:
        """A piece of one host's output: ``{text (base64), bytes_total, cut_bytes, next}``."""
        args = {"job": job, "host_id": host_id, "stream": stream, "offset": offset, "limit": limit}
        return self.call("job.output", args)

    def events(self, job: int, since: int = 0, wait: float = 0, until: str = "change") -> Json:
        """What is newer than *since*: ``{job, results, event}``.

        Waits for it up to *wait* seconds (25), or with *until* ``"end"`` as long for the end of the job.
        """
        args = {"job": job, "since": since, "wait": wait, "until": until}
        return self.call("job.events", args, deadline=self.timeout + wait)

    def cancel(self, job: int) -> Json:
        """Cancel a job, and answer it."""
        return dict(self.call("job.cancel", {"job": job})["job"])

    def pause_job(self, job: int) -> Json:
        """Let a job begin on no further host until it is resumed, and answer it; hosts at work go on."""
        return dict(self.call("job.pause", {"job": job})["job"])

    def resume_job(self, job: int) -> Json:
        """Let a paused job go on, or give it the go-ahead that it asks for, and answer it."""
        return dict(self.call("job.resume", {"job": job})["job"])

    def pin_job(self, job: int) -> Json:
        """Keep a job and its outputs whatever their age, and answer it."""
        return dict(self.call("job.pin", {"job": job})["job"])

    def unpin_job(self, job: int) -> Json:
        """Let a job and its outputs go when their time comes, and answer it."""
        return dict(self.call("job.unpin", {"job": job})["job"])

    def watch(self, job: int, since: int = 0) -> Iterator[Json]:
        """Yield a job's results as they change, until the job is over."""
        for news in self._news(job, since):
            yield from news["results"]

    def _news(self, job: int, since: int = 0, until: str = "change") -> Iterator[Json]:
        """What `events` answers, again and again, until the job is over and all of it was told."""
        while True:
            news = self.events(job, since, POLL, until)
            since = news["event"]
            yield news
            if news["job"]["state"] in ENDED and since >= news["job"]["event"]:
                return

    def run(
        self, module: str | int, hosts: Hosts, params: Params = None, *, wait: bool = True, **options: Any
    ) -> Json:
        """Submit a job and, with *wait*, stay until it is over: ``{job, results}``, by the hosts' ids."""
        job: Json = self.submit(module, params, hosts, **options)["job"]
        latest: dict[int, Json] = {}
        for news in self._news(job["id"], until="end") if wait else ():
            job = news["job"]
            latest |= {result["host_id"]: result for result in news["results"]}
        return {"job": job, "results": [latest[host_id] for host_id in sorted(latest)]}

    def runcommands(
        self, task: Task | str, *, key: str | None = None, timeout: float = TASK_TIMEOUT
    ) -> Json | str:
        """Run a task string as in 2014 and wait for its end.

        Answers the results (the reply's ``ok``), or one of the texts of then: ``Invalid Login!``,
        ``User verify failed!``, ``Module "Mid_1003" does not exist, Please add it``.
        """
        text = task.format() if isinstance(task, Task) else task
        key = key or str(uuid.uuid4())

        def write(now: float) -> bytes:
            return TaskRequest(text, now + LIFE, session=self.session, key=key).to_json()

        answer = self._link.ask_task(write, timeout)
        return Reply.from_json(answer).result() if answer.startswith(b"{") else answer.decode()

    # How it is sent

    def call(
        self,
        op: str,
        args: Mapping[str, Any] | None = None,
        *,
        session: str | None = None,
        key: str | None = None,
        deadline: float | None = None,
    ) -> Json:
        """Send any operation and answer its ``ok``; the methods above are this and names.

        *session* takes the place of the client's own; *key* is the idempotency key; *deadline* is in seconds.
        """
        token = None if op == "auth.login" else session or self.session

        def write(now: float) -> bytes:
            return Request(op, _given(args or {}), now + LIFE, session=token, key=key).to_json()

        again = key is not None or op in _REPEATABLE
        return Reply.from_json(self._link.ask(write, deadline or self.timeout, again=again)).result()

    def ping(self) -> None:
        """Ask the master for a sign of life. It proves nothing about keys."""
        self._link.ping(self.timeout)


def _default_key_file() -> Path:
    named = os.environ.get("OMSERVER_KEY_FILE")
    home = Path(os.environ.get("OMSERVER_HOME") or "~/.omserver")
    return Path(named) if named else home / "keys" / "omctl.key"


def _work(module: str | int, params: Params, hosts: Hosts) -> Json:
    picked = [hosts] if isinstance(hosts, str) else list(hosts)
    given = dict(params) if isinstance(params, Mapping) else list(params or ())
    return {"module": str(module), "params": given, "hosts": picked}


def _again(job: int, on: str | None, hosts: Hosts) -> Json:
    picked = [hosts] if isinstance(hosts, str) else list(hosts)
    return {"job": job} | _given({"on": on, "hosts": picked or None})


def _given(options: Mapping[str, Any]) -> Json:
    return {name: value for name, value in options.items() if value is not None}


def _list(answer: Json, name: str) -> list[Json]:
    return list(answer[name])
