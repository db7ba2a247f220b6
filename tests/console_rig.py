"""The console in front of a master that is made of a few dictionaries: what pages say and refuse.

The real master is met in tests/acceptance/test_console.py.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from html import unescape
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from omserver_client.errors import (
    BadRequest,
    ConfirmationNeeded,
    Forbidden,
    InvalidParam,
    LoginFailed,
    NotFound,
    NotReached,
    PreviewOutdated,
    SessionExpired,
    Unavailable,
    UnknownHost,
    UnknownModule,
)
from omserver_web import create_app
from omserver_web.settings import from_environment

#: A text that does harm wherever it is not escaped.
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'>"
OUTPUT = HOSTILE.encode() + b"\n\x1b[31mred\x1b[0m \xff \xe2\x80\xae\n"

HOSTS = [
    {
        "id": number,
        "name": name,
        "wip": f"192.0.2.{number}",
        "lip": f"10.0.0.{number}",
        "os": "Debian 12",
        "app_id": 1 if number < 3 else 2,
        "app": "www.domain.com" if number < 3 else "db.domain.com",
        "categ_id": 1 if number < 3 else 2,
        "categ": "Linux.Web" if number < 3 else "Linux.DB",
        "state": "in_service",
        "connection": "salt",
        "last_seen": 1_700_000_000.0,
    }
    for number, name in enumerate(["web-01", "web-02", "db-01"], start=1)
]


def param(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """One parameter as ``modules.list`` describes it."""
    plain = {
        "label": name.title(),
        "label_zh": "",
        "help": "",
        "help_zh": "",
        "default": None,
        "required": False,
    }
    return {"name": name, "kind": kind, **plain, **more}


def module(number: str, title: str, **more: Any) -> dict[str, Any]:
    """One module as ``modules.list`` describes it."""
    plain: dict[str, Any] = {
        "title_zh": f"模块{number}",
        "caption": HOSTILE,
        "caption_zh": HOSTILE,
        "repeat": "read_only",
        "risk": "low",
        "timeout": 60,
        "most_hosts": None,
        "engines": [],
        "params": [],
        "runnable": True,
        "broken": None,
        "direct": False,
        "check": False,
    }
    return {"id": number, "title": title, **plain, **more}


MODULES = [
    module("1001", "Show the system log", params=[param("lines", "int", default=50, minimum=1, maximum=999)]),
    module(
        "1007",
        "Restart a service",
        repeat="once",
        risk="high",
        params=[param("service", "text", required=True)],
    ),
    module(
        "2001",
        HOSTILE,
        params=[
            param("days", "choices", choices=[["mon", "Monday", "周一"], ["tue", "Tuesday", "周二"]]),
            param("files", "lines"),
            param("force", "bool", default=False),
        ],
    ),
    module("2003", "Broken", broken={"line": 12, "reason": HOSTILE}),
]

JOB = {
    "id": 7,
    "module": "1001",
    "title": HOSTILE,
    "title_zh": HOSTILE,
    "params": {"lines": HOSTILE},
    "user": HOSTILE,
    "key": "web",
    "state": "failed",
    "reason": HOSTILE,
    "created": 1_700_000_000.0,
    "started": 1_700_000_001.0,
    "finished": 1_700_000_003.5,
    "timeout": 60,
    "repeat": "read_only",
    "counts": {"ok": 1, "failed": 1},
    "hosts": 2,
    "event": 4,
    "module_sha256": "ab" * 32,
}


def result(host: Mapping[str, Any], state: str, event: int, **more: Any) -> dict[str, Any]:
    """One row of ``job.results``."""
    plain = {
        "rc": 0,
        "started": 1_700_000_001.0,
        "finished": 1_700_000_002.0,
        "seconds": 1.0,
        "connection": "salt",
        "reason": HOSTILE,
        "first_line": HOSTILE,
        "stdout_bytes": len(OUTPUT),
        "stderr_bytes": 0,
        "cut": True,
        "late": True,
    }
    named = {"host_id": host["id"], "host": host["name"], "ip": host["lip"]}
    return {**named, "state": state, "event": event, **plain, **more}


class FakeMaster:
    """Answers what the console asks, from memory. ``calls`` holds every (op, args, session, key)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any], str | None, str | None]] = []
        self.sessions: dict[str, str] = {}
        self.down = False
        #: What hosts and engines say on the pages about connections and imports.
        self.text = HOSTILE
        self.job: dict[str, Any] = dict(JOB)
        self.results = [result(HOSTS[0], "ok", 3), result(HOSTS[1], "failed", 4, rc=1)]
        self.output = OUTPUT
        self.cut = 1234
        self.made: dict[str | None, int] = {}
        self.roles = {"admin": "admin", "olga": "operator"}
        self.confirm: int | None = None
        #: How many jobs are paused.
        self.paused = 0
        self.before: Callable[[str], None] = lambda op: None

    def asked(self, op: str) -> list[dict[str, Any]]:
        """The arguments of every *op* asked so far."""
        return [args for name, args, _, _ in self.calls if name == op]

    def reachable(self) -> bool:
        return not self.down

    def call(
        self,
        op: str,
        args: Mapping[str, Any],
        *,
        session: str | None = None,
        key: str | None = None,
        wait: float = 0.0,
    ) -> dict[str, Any]:
        if self.down:
            raise NotReached
        self.calls.append((op, dict(args), session, key))
        self.before(op)
        if op == "auth.login":
            return self._login(**args)
        if session not in self.sessions:
            raise SessionExpired
        method = getattr(self, "_" + op.replace(".", "_"))
        if op in ("auth.logout", "auth.whoami"):
            return method(session, **args)
        return method(key, **args) if op in ("job.submit", "job.rerun") else method(**args)

    def _login(self, user: str, password: str) -> dict[str, Any]:
        if password != "right":
            raise LoginFailed
        token = f"token-{len(self.sessions)}-{user}"
        self.sessions[token] = user
        return {
            "session": token,
            "user": user,
            "role": self.roles[user],
            "expires_at": 0,
            "idle_seconds": 1800,
        }

    def _auth_logout(self, session: str) -> dict[str, Any]:
        del self.sessions[session]
        return {}

    def _auth_whoami(self, session: str, paused: bool = False) -> dict[str, Any]:
        user = self.sessions[session]
        counted = {"paused": self.paused} if paused else {}
        return {"user": user, "role": self.roles[user], "key": "web", "expires_at": 0, **counted}

    def _auth_password(self, old: str, new: str) -> dict[str, Any]:
        if old != "right":
            raise LoginFailed
        return {}

    def _modules_list(self) -> dict[str, Any]:
        return {"modules": MODULES}

    def _modules_show(self, module: str) -> dict[str, Any]:
        for each in MODULES:
            if each["id"] == module:
                return {**each, "source_sha256": "cd" * 32, "doc": HOSTILE}
        raise UnknownModule

    def _hosts_categories(self) -> dict[str, Any]:
        apps = [{"id": 1, "name": "www.domain.com", "hosts": 2}]
        others = [{"id": 2, "name": "db.domain.com", "hosts": 1}]
        return {
            "categories": [
                {"id": 1, "name": "Linux.Web", "hosts": 2, "apps": apps},
                {"id": 2, "name": "Linux.DB", "hosts": 1, "apps": others},
            ]
        }

    def _hosts_list(
        self,
        categ_id: int | None = None,
        app_id: int | None = None,
        search: str = "",
        limit: int = 200,
        offset: int = 0,
        connection: str | None = None,
    ) -> dict[str, Any]:
        found = [
            host
            for host in HOSTS
            if categ_id in (None, host["categ_id"])
            and app_id in (None, host["app_id"])
            and search in host["name"]
        ]
        return {"hosts": found[offset : offset + limit], "total": len(found)}

    def _named(self, hosts: list[Any]) -> list[dict[str, Any]]:
        by_name = {host["name"]: host for host in HOSTS}
        by_id = {host["id"]: host for host in HOSTS}
        found = [by_id.get(each["id"]) if isinstance(each, dict) else by_name.get(each) for each in hosts]
        if None in found:
            unknown = [each for each, host in zip(hosts, found, strict=True) if host is None]
            raise UnknownHost("Unknown hosts.", hosts=unknown)
        return [host for host in found if host]

    def _job_preview(
        self,
        module: str,
        params: Any,
        hosts: list[Any],
        dry_run: bool = False,
        rollout: dict[str, Any] | None = None,
        locks: list[str] | None = None,
        lock_mode: str = "queue",
    ) -> dict[str, Any]:
        shown = self._modules_show(module)
        targets = self._named(hosts)
        if any(host["name"] == "db-01" for host in targets):
            raise Forbidden("Not on these hosts.", hosts=["db-01"])
        if module == "1001" and not str(params.get("lines", "50")).isdigit():
            raise InvalidParam("lines is not a number", param="lines", reason="not a number")
        if module == "1007" and not params.get("service"):
            raise InvalidParam("service is required", param="service", reason="required")
        return {
            "module": {name: shown[name] for name in ("id", "title", "title_zh", "risk", "repeat")},
            "params": params,
            "hosts": targets,
            "warnings": [{"code": "long_unseen", "host": "web-01", "hours": "2", "text": "web-01 ..."}],
            "confirm": self.confirm,
            "dry_run": dry_run,
            "rollout": rollout,
            "locks": locks or [],
            "omctl": f"omctl run {module} {HOSTILE}",
        }

    def _job_submit(
        self,
        key: str | None,
        module: str,
        params: Any,
        hosts: list[Any],
        confirm: int | None = None,
        dry_run: bool = False,
        rollout: dict[str, Any] | None = None,
        locks: list[str] | None = None,
        lock_mode: str = "queue",
        until: int | None = None,
        timeout: str | None = None,
        start_before: str | None = None,
    ) -> dict[str, Any]:
        self._job_preview(module, params, hosts, dry_run, rollout)
        if self.confirm is not None and confirm != self.confirm:
            raise ConfirmationNeeded(number=self.confirm)
        repeated = key in self.made
        self.made.setdefault(key, 7)
        return {"job": self.job, "repeated": repeated}

    def _job_rerun_preview(
        self, job: int, on: str | None = None, hosts: list[Any] | None = None
    ) -> dict[str, Any]:
        self._job_show(job)
        names = [row["host"] for row in self.results if on == "all" or row["state"] == on]
        if not names and not hosts:
            raise BadRequest(f"Job 7 has no host that is {on}.", field="on")
        return self._job_preview(self.job["module"], {"lines": "20"}, hosts or names) | {"rerun_of": 7}

    def _job_rerun(
        self, key: str | None, job: int, hosts: list[Any], confirm: int | None = None
    ) -> dict[str, Any]:
        self._job_rerun_preview(job, None, hosts)
        if self.confirm is not None and confirm != self.confirm:
            raise ConfirmationNeeded(number=self.confirm)
        repeated = key in self.made
        self.made.setdefault(key, 7)
        return {"job": self.job, "repeated": repeated}

    def _job_pause(self, job: int) -> dict[str, Any]:
        return self._job_show(job)

    _job_resume = _job_pin = _job_unpin = _job_pause

    def _job_list(self, **filters: Any) -> dict[str, Any]:
        return {"jobs": [self.job], "more": True}

    def _job_show(self, job: int) -> dict[str, Any]:
        if job != 7:
            raise NotFound
        return {"job": self.job}

    def _job_results(
        self, job: int, state: str | None = None, limit: int = 500, after: int | None = None
    ) -> dict[str, Any]:
        rows = [
            row for row in self.results if state in (None, row["state"]) and row["host_id"] > (after or 0)
        ]
        return {"results": rows[:limit], "more": len(rows) > limit}

    def _job_output(
        self, job: int, host_id: int, stream: str, offset: int = 0, limit: int = 262_144
    ) -> dict[str, Any]:
        end = offset + limit
        return {
            "text": base64.b64encode(self.output[offset:end]).decode(),
            "bytes_total": len(self.output),
            "cut_bytes": self.cut,
            "next": end if end < len(self.output) else None,
        }

    def _job_events(self, job: int, since: int, wait: float = 0) -> dict[str, Any]:
        self._job_show(job)
        newer = [row for row in self.results if row["event"] > since]
        return {"job": self.job, "results": newer, "event": self.job["event"]}

    def _job_cancel(self, job: int) -> dict[str, Any]:
        return {"job": self.job}

    def _audit_list(self, **filters: Any) -> dict[str, Any]:
        texts = dict.fromkeys(("user", "key", "address", "action", "target", "outcome", "detail"), HOSTILE)
        return {"rows": [{"id": 1, "time": 1_700_000_000.0, **texts}], "more": True}

    def _people_list(self) -> dict[str, Any]:
        grant = {"role": "operator", "module": "1001", "categ": "Linux.Web", "app": None, "host": None}
        person = {
            "user": HOSTILE,
            "role": "operator",
            "disabled": True,
            "last_login": None,
            "grants": [grant],
        }
        return {"people": [person]}

    def _hosts_show(self, host: str) -> dict[str, Any]:
        found = self._hosts_list(search=host, limit=5000)["hosts"]
        row = next((each for each in found if each["name"].lower() == host.lower()), None)
        if row is None:
            raise NotFound
        way = {
            "connection": "salt",
            "kind": "salt",
            "remote_id": self.text,
            "state": "down",
            "reason": self.text,
        }
        labels = {"pair": "db-a", "rack": "<r3>"}
        return {
            **row,
            "facts": {"os_family": "debian"},
            "labels": labels,
            "ways": [way, {**way, "connection": "jump"}],
        }

    def _hosts_set(self, hosts: list[str], **values: Any) -> dict[str, Any]:
        if values.get("lip") == "wrong":
            raise BadRequest("'wrong' is not an IP address.", field="lip")
        return {"changed": len(hosts)}

    def _hosts_add(self, host: str, **values: Any) -> dict[str, Any]:
        if host == "web-01":
            raise BadRequest("There is a host 'web-01' already.", field="host")
        return self._hosts_show("web-01")

    def _hosts_ways(self, hosts: list[str], **change: Any) -> dict[str, Any]:
        if change.get("remove") == "wrong":
            raise BadRequest(self.text, field="ways")
        return {"changed": len(hosts)}

    def _connections_kinds(self) -> dict[str, Any]:
        plain = {"help": self.text, "help_zh": self.text, "default": None, "required": False, "secret": False}
        settings = [
            {**plain, "name": "url", "type": "text", "choices": [], "required": True},
            {**plain, "name": "password", "type": "text", "choices": [], "secret": True},
            {**plain, "name": "tls", "type": "bool", "choices": [], "default": True},
            {**plain, "name": "profile", "type": "choice", "choices": ["modern", "legacy"]},
            {**plain, "name": "forks", "type": "number", "choices": [], "default": 10},
        ]
        kind = {"kind": "salt", "keeps_hosts": True, "machines": ["gd-1"], "settings": settings}
        return {"kinds": [kind]}

    def _one_connection(self, name: str) -> dict[str, Any]:
        if name not in ("salt", "jump"):
            raise NotFound
        state = {"enabled": True, "state": "down", "reason": self.text, "since": 1_700_000_000.0, "hosts": 2}
        state |= {"machines": ["sz-1", "sz-2"] if name == "jump" else [], "here": name != "jump"}
        settings = {"url": self.text, "forks": 5}
        return {"id": 1, "name": name, "kind": "salt", "settings": settings, "secrets": ["password"], **state}

    def _connections_list(self) -> dict[str, Any]:
        return {"connections": [self._one_connection("salt"), self._one_connection("jump")]}

    def _connections_show(self, connection: str) -> dict[str, Any]:
        return self._one_connection(connection)

    def _connections_add(
        self, connection: str, kind: str, settings: dict[str, Any], machines: list[str] | None = None
    ) -> dict[str, Any]:
        if not settings.get("url"):
            raise BadRequest("Connection x: url is missing.", field="settings.url")
        if connection == "salt":
            raise BadRequest("There is a connection 'salt' already.", field="connection")
        return self._one_connection("jump" if machines else "salt")

    def _connections_set(
        self, connection: str, settings: dict[str, Any], machines: list[str] | None = None
    ) -> dict[str, Any]:
        if machines == ["深圳"]:
            text = "'深圳' is no name of a machine: 1 to 64 letters, digits, dots, hyphens and underscores."
            raise BadRequest(text, field="machines")
        if settings.get("forks") == "many":
            raise BadRequest("Connection salt: forks: It must be a number.", field="settings.forks")
        return self._one_connection(connection)

    def _connections_rename(self, connection: str, name: str) -> dict[str, Any]:
        return self._one_connection(connection)

    def _connections_enable(self, connection: str) -> dict[str, Any]:
        return self._one_connection(connection)

    def _connections_disable(self, connection: str) -> dict[str, Any]:
        return self._one_connection(connection)

    def _connections_remove(self, connection: str) -> dict[str, Any]:
        text = "2 hosts are reached over salt; take this way from them first."
        raise BadRequest(text, field="connection", hosts=2)

    def _connections_try(self, connection: str, host: str | None = None) -> dict[str, Any]:
        found = {"up": host is not None, "reason": "" if host else self.text, "seconds": 0.2}
        tried = {"host": host or "", "state": "failed" if host else "", "host_reason": self.text}
        return {**found, **tried, "host_seconds": 0.1}

    def _import_preview(self, **wanted: Any) -> dict[str, Any]:
        if wanted.get("source") == "salt":
            raise Unavailable("salt: The Salt master is not running.")
        return self._import_rows("t0")

    def _import_rows(self, token: str, status: str = "", **filters: Any) -> dict[str, Any]:
        if token not in ("t0", "t1"):
            raise NotFound
        changes = [
            {"field": "lip", "old": self.text, "new": self.text},
            {"field": "ways", "old": "", "new": self.text},
        ]
        plain = {"number": 1, "name": self.text, "host_id": None, "reason": self.text, "changes": changes}
        words = ("new", "changed", "same", "conflict", "refused", "missing")
        rows = [{**plain, "status": word} for word in words if status in ("", word)]
        head = {"token": token, "digest": "d0", "title": self.text, "total": 6, "found": len(rows)}
        return {**head, "counts": dict.fromkeys(words, 1), "rows": rows}

    def _import_apply(self, token: str, digest: str | None = None) -> dict[str, Any]:
        if token == "t1":
            raise PreviewOutdated(**self._import_rows("t0"))
        return {"counts": self._import_rows(token)["counts"]}

    def _status(self) -> dict[str, Any]:
        road = {"name": "salt", "kind": "salt", "state": "down", "reason": HOSTILE, "since": 1_700_000_000.0}
        worker = {"name": "one", "machine": "gd-1", "alive": True, "jobs": 1}
        counts = {"queued": 1, "running": 2}
        return {"version": "1", "database": "ok", "workers": [worker], "connections": [road], **counts}


class Browser:
    """A person at the console, without script."""

    def __init__(self, home: Path, master: FakeMaster, **environment: str) -> None:
        self.master = master
        self.app = create_app(from_environment({"OMSERVER_HOME": str(home), **environment}), master=master)
        self.client: FlaskClient = self.app.test_client()

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.client.get(path, **more)

    def token(self, path: str = "/settings") -> str:
        """The form token of the page at *path*."""
        match = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        assert match, f"{path} has no form"
        return unescape(match[1])

    def send(self, path: str, *, token: str | None = None, **fields: Any) -> TestResponse:
        """Send a form with a good token, unless another is given."""
        fields["csrf_token"] = self.token() if token is None else token
        return self.client.post(path, data=fields)

    def sign_in(self, user: str = "admin", password: str = "right", following: str = "/") -> TestResponse:
        return self.send(
            "/sign-in", token=self.token("/sign-in"), user=user, password=password, next=following
        )

    def cookie(self, name: str) -> str | None:
        found = self.client.get_cookie(name)
        return found.value if found else None
