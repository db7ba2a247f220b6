"""A fake master for tests of its clients: the real wire, and behind it answers from a script.

It keeps no truth and judges nobody; whatever is to be shown about the master itself needs the real one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omserver_client.errors import (
    BadRequest,
    LoginFailed,
    LoginRequired,
    NotFound,
    Refused,
    UnknownHost,
    UnknownModule,
)
from omserver_client.keyfile import Key, new_key, write_key
from omserver_client.messages import Reply, Request
from omserver_master.caller import Caller, CallerKey
from omserver_master.wire.gate import Caps
from omserver_master.wire.server import HardenedServer
from omserver_master.wire.service import Doors

Json = dict[str, Any]
PASSWORD = "correct horse"

MODULE: Json = {
    "id": "1001",
    "title": "Show the last lines of the system log",
    "title_zh": "查看系统日志",
    "repeat": "read_only",
    "risk": "low",
    "timeout": 60,
    "broken": None,
    "caption": "",
    "runnable": True,
    "direct": False,
    "params": [
        {
            "name": "lines",
            "kind": "int",
            "label": "Lines",
            "default": 50,
            "required": False,
            "minimum": 1,
            "maximum": 1000,
        }
    ],
}
BROKEN: Json = MODULE | {
    "id": "2001",
    "title": "",
    "params": [],
    "broken": {"line": 3, "reason": "invalid syntax"},
}
HOST: Json = {
    "id": 1,
    "name": "web-01",
    "wip": "127.0.0.1",
    "lip": "10.0.0.1",
    "os": "Debian 12",
    "app": "www",
    "app_id": 1,
    "categ": "Linux.Web",
    "categ_id": 1,
    "state": "in_service",
    "connection": "salt",
    "last_seen": 1_700_000_000.0,
}


def job(state: str, **counts: int) -> Json:
    """A job that the fake knows, with its hosts by state."""
    return {
        "id": 7,
        "module": "1001",
        "title": MODULE["title"],
        "params": {"lines": "20"},
        "user": "li",
        "key": "omctl",
        "state": state,
        "reason": "",
        "created": 1_700_000_000.0,
        "counts": counts,
        "hosts": sum(counts.values()),
        "event": sum(counts.values()),
    }


def result(number: int, state: str, **more: Any) -> Json:
    """A host result of that job."""
    return {
        "host_id": number,
        "host": f"web-{number:02}",
        "ip": "127.0.0.1",
        "state": state,
        "rc": 0,
        "seconds": 0.25,
        "reason": "",
        "first_line": "first",
        "stdout_bytes": 6,
        "stderr_bytes": 0,
        "late": False,
        "event": number,
    } | more


class FakeMaster:
    """Answers from the attributes below; a test sets them, and reads ``requests`` afterwards."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.results: list[Json] = [result(1, "ok"), result(2, "ok")]
        self.job: Json = job("succeeded", ok=2)
        self.output = b"first\n"
        self.cut = 0
        self.host: Json = HOST
        self.module: Json = MODULE
        self.confirm: int | None = None
        self.warnings: list[Json] = []
        self.key: Key = new_key("omctl")
        self.on_request: Callable[[Request], None] = lambda request: None

    def lookup(self, kid: bytes, session: str | None = None) -> tuple[Key, CallerKey] | None:
        """The one key that this master knows."""
        return (self.key, CallerKey(self.key.kid_hex, "omctl", "admin")) if kid == self.key.kid else None

    def known(self, kid: bytes) -> Key | None:
        """The same."""
        return self.key if kid == self.key.kid else None

    def dispatch(self, request: Request, caller: Caller) -> Reply:
        """Look the operation up by name; what it wants is kept."""
        self.requests.append(request)
        self.on_request(request)
        if request.op != "auth.login" and request.session != "token":
            raise LoginRequired
        answer = getattr(self, request.op.replace(".", "_"))(dict(request.args))
        return Reply(request.id, ok=answer)

    def sent(self, op: str) -> Request:
        """The last request for *op*."""
        return next(request for request in reversed(self.requests) if request.op == op)

    def auth_login(self, args: Json) -> Json:
        if args["password"] != PASSWORD:
            raise LoginFailed
        return {
            "session": "token",
            "user": args["user"],
            "role": "admin",
            "expires_at": 2e9,
            "idle_seconds": 60,
        }

    def auth_logout(self, args: Json) -> Json:
        return {}

    def auth_whoami(self, args: Json) -> Json:
        return {"user": "li", "role": "admin", "key": "omctl", "expires_at": 2e9}

    def modules_list(self, args: Json) -> Json:
        return {"modules": [MODULE, BROKEN]}

    def modules_show(self, args: Json) -> Json:
        if args["module"] != self.module["id"]:
            raise UnknownModule(f'Module "Mid_{args["module"]}" does not exist, Please add it')
        return self.module

    def hosts_categories(self, args: Json) -> Json:
        return {
            "categories": [{"id": 1, "name": "Linux.Web", "hosts": 1, "apps": [{"id": 5, "name": "www"}]}]
        }

    def hosts_list(self, args: Json) -> Json:
        return {"hosts": [self.host] if args["offset"] == 0 else [], "total": 1}

    def job_preview(self, args: Json) -> Json:
        if "nowhere" in args["hosts"]:
            raise UnknownHost("There is no host nowhere.", hosts=["nowhere"])
        return {"module": MODULE, "hosts": [HOST], "warnings": self.warnings, "confirm": self.confirm}

    def job_submit(self, args: Json) -> Json:
        return {"job": self.job | {"state": "queued"}, "repeated": False}

    def _known(self, args: Json) -> None:
        if not isinstance(args["job"], int):
            raise BadRequest("job: Input should be a valid integer.")
        if args["job"] != 7:
            raise NotFound("There is no such job.")

    def job_rerun_preview(self, args: Json) -> Json:
        self._known(args)
        return {"module": MODULE, "hosts": [HOST], "warnings": self.warnings, "confirm": self.confirm}

    def job_rerun(self, args: Json) -> Json:
        self._known(args)
        return {"job": self.job | {"state": "queued"}, "repeated": False}

    def job_events(self, args: Json) -> Json:
        self._known(args)
        newer = [row for row in self.results if row["event"] > args["since"]]
        return {
            "job": self.job,
            "results": newer[:1],
            "event": newer[0]["event"] if newer else self.job["event"],
        }

    def job_list(self, args: Json) -> Json:
        return {"jobs": [self.job], "more": False}

    def job_show(self, args: Json) -> Json:
        self._known(args)
        return {"job": self.job}

    def job_results(self, args: Json) -> Json:
        self._known(args)
        rows = [row for row in self.results if row["host_id"] > (args.get("after") or 0)]
        rows = [row for row in rows if row["state"] == args.get("state", row["state"])]
        return {"results": rows[:1], "more": len(rows) > 1}

    def job_output(self, args: Json) -> Json:
        self._known(args)
        piece = self.output[args["offset"] : args["offset"] + 4]
        end = args["offset"] + len(piece)
        return {
            "text": base64.b64encode(piece).decode(),
            "bytes_total": len(self.output),
            "cut_bytes": self.cut,
            "next": end if end < len(self.output) else None,
        }

    def job_cancel(self, args: Json) -> Json:
        self._known(args)
        return {"job": self.job | {"state": "cancelling"}}

    def status(self, args: Json) -> Json:
        down = {"name": "default", "kind": "salt", "state": "down", "reason": "no answer", "since": 1.0}
        worker = {"name": "worker-1", "machine": "gd-1", "alive": True, "jobs": 1}
        return {
            "version": "1",
            "database": "ok",
            "queued": 2,
            "running": 1,
            "workers": [worker],
            "connections": [down],
        }


@contextmanager
def serving(fake: FakeMaster, home: Path) -> Iterator[int]:
    """Serve *fake* on a free port, which is answered; its key is put where omctl looks in *home*."""
    (home / "keys").mkdir(parents=True, mode=0o700)
    write_key(home / "keys" / "omctl.key", fake.key)
    doors = Doors(fake.dispatch, lambda user, password, address: False, lambda address, kid, reason: None)
    with HardenedServer("127.0.0.1", 0, doors, fake, caps=Caps()) as server:
        yield server.port


__all__ = ["FakeMaster", "Refused", "job", "result", "serving"]
