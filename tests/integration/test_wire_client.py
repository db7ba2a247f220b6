"""The client against a real server: every operation, lost connections, and the example of the docs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omserver_client import Client, NotFound, NotReached, ProtocolError, connect
from omserver_client.keyfile import BadKeyFile, new_key, write_key
from omserver_client.messages import Reply, Request
from omserver_client.taskstring import Task, TaskHost
from omserver_client.transport import Transport
from omserver_master.caller import Caller
from tests.ports import free_port
from tests.wire_rig import Rig, running

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")

WORK = {"module": "1003", "params": {}, "hosts": ["web-01"]}
#: what is called, what the master then gets, and a part of its answer
CALLS: list[tuple[Callable[[Client], Any], str, dict[str, Any]]] = [
    (lambda c: c.logout(), "auth.logout", {}),
    (lambda c: c.whoami(), "auth.whoami", {}),
    (lambda c: c.change_password("a", "b"), "auth.password", {"old": "a", "new": "b"}),
    (lambda c: c.modules(), "modules.list", {}),
    (lambda c: c.module(1003), "modules.show", {"module": "1003"}),
    (lambda c: c.categories(), "hosts.categories", {}),
    (lambda c: c.hosts(search="web", app_id=None), "hosts.list", {"search": "web"}),
    (lambda c: c.host("web-01"), "hosts.show", {"host": "web-01"}),
    (lambda c: c.add_host("web-01", lip="10.0.0.1"), "hosts.add", {"host": "web-01", "lip": "10.0.0.1"}),
    (lambda c: c.set_hosts(["web-01"], os="Debian"), "hosts.set", {"hosts": ["web-01"], "os": "Debian"}),
    (lambda c: c.set_ways(["web-01"], remove="dc1"), "hosts.ways", {"hosts": ["web-01"], "remove": "dc1"}),
    (lambda c: c.connection_kinds(), "connections.kinds", {}),
    (lambda c: c.connections(), "connections.list", {}),
    (lambda c: c.connection("dc1"), "connections.show", {"connection": "dc1"}),
    (
        lambda c: c.add_connection("dc1", "salt", {"config_dir": "/etc/salt"}),
        "connections.add",
        {"connection": "dc1", "kind": "salt", "settings": {"config_dir": "/etc/salt"}},
    ),
    (
        lambda c: c.set_connection("dc1", {"batch": None}),
        "connections.set",
        {"connection": "dc1", "settings": {"batch": None}},
    ),
    (lambda c: c.rename_connection("dc1", "dc2"), "connections.rename", {"connection": "dc1", "name": "dc2"}),
    (lambda c: c.enable_connection("dc1"), "connections.enable", {"connection": "dc1"}),
    (lambda c: c.enable_connection("dc1", False), "connections.disable", {"connection": "dc1"}),
    (lambda c: c.remove_connection("dc1"), "connections.remove", {"connection": "dc1"}),
    (lambda c: c.try_connection("dc1", "w"), "connections.try", {"connection": "dc1", "host": "w"}),
    (lambda c: c.preview_import("dc1"), "import.preview", {"source": "dc1"}),
    (lambda c: c.import_rows("t", limit=5), "import.rows", {"token": "t", "limit": 5}),
    (lambda c: c.apply_import("t", "d"), "import.apply", {"token": "t", "digest": "d"}),
    (lambda c: c.people(), "people.list", {}),
    (lambda c: c.audit(limit=5), "audit.list", {"limit": 5}),
    (lambda c: c.status(), "status", {}),
    (lambda c: c.preview("1003", {}, ["web-01"]), "job.preview", WORK),
    (lambda c: c.submit(1003, hosts="web-01"), "job.submit", WORK | {"params": []}),
    (
        lambda c: c.submit("1001", ["50"], [{"id": 7}], confirm=1, timeout=9),
        "job.submit",
        {"module": "1001", "params": ["50"], "hosts": [{"id": 7}], "confirm": 1, "timeout": 9},
    ),
    (lambda c: c.job(7), "job.show", {"job": 7}),
    (lambda c: c.jobs(state="running"), "job.list", {"state": "running"}),
    (lambda c: c.results(7, state="failed"), "job.results", {"job": 7, "state": "failed"}),
    (
        lambda c: c.output(7, 3, "stderr", offset=10),
        "job.output",
        {"job": 7, "host_id": 3, "stream": "stderr", "offset": 10, "limit": 262144},
    ),
    (lambda c: c.events(7, 3, 1), "job.events", {"job": 7, "since": 3, "wait": 1, "until": "change"}),
    (lambda c: c.cancel(7), "job.cancel", {"job": 7}),
    (lambda c: c.pause_job(7), "job.pause", {"job": 7}),
    (lambda c: c.resume_job(7), "job.resume", {"job": 7}),
    (lambda c: c.rerun(7, on="failed"), "job.rerun", {"job": 7, "on": "failed"}),
    (lambda c: c.pin_job(7), "job.pin", {"job": 7}),
    (lambda c: c.unpin_job(7), "job.unpin", {"job": 7}),
]

LISTS: dict[str, Any] = {name: [] for name in ("modules", "categories", "people", "connections", "kinds")}
EVERYTHING = {**LISTS, "job": {"id": 7}, "session": "token"}


def everything(request: Request, caller: Caller) -> Reply:
    return Reply(request.id, ok=EVERYTHING)


@pytest.mark.parametrize(("call", "op", "args"), CALLS, ids=[op for _, op, _ in CALLS])
def test_each_method_is_one_operation(call: Callable[[Client], Any], op: str, args: dict[str, Any]) -> None:
    with running() as rig:
        rig.master.answer = everything
        with rig.client(session="mine") as client:
            call(client)
    request, caller = rig.master.seen[0]
    assert (request.op, request.args) == (op, args)
    assert caller.session_token == "mine"
    assert (request.key is not None) is (op in ("job.submit", "job.rerun"))


def test_every_operation_of_the_protocol_has_a_method() -> None:
    described = set(re.findall(r"^\| `([a-z]+\.[a-z]+|status)` \|", PROTOCOL, re.MULTILINE))
    assert described == {op for _, op, _ in CALLS} | {"auth.login"}


def test_a_login_is_remembered_until_the_logout() -> None:
    with running() as rig:
        rig.master.answer = everything
        with rig.client(session="old") as client:
            client.login("ann", "password")
            client.status()
            client.logout()
            client.status()
    tokens = [caller.session_token for _, caller in rig.master.seen]
    assert tokens == [None, "token", "token", None]


class Jobs:
    """A master with one job that runs on two hosts and takes three looks."""

    def __init__(self) -> None:
        self.event = 0

    def answer(self, request: Request, caller: Caller) -> Reply:
        return Reply(request.id, ok=getattr(self, request.op.replace(".", "_"))(request.args))

    def job(self) -> dict[str, Any]:
        return {"id": 7, "state": "running" if self.event < 3 else "succeeded", "event": self.event}

    def job_submit(self, args: Any) -> dict[str, Any]:
        return {"job": self.job(), "repeated": False}

    def job_show(self, args: Any) -> dict[str, Any]:
        return {"job": self.job()}

    def job_events(self, args: Any) -> dict[str, Any]:
        self.event = min(self.event + 1, 4)
        states = {1: (1, "dispatched"), 2: (2, "ok"), 3: (1, "ok")}
        host, state = states.get(self.event, (0, ""))
        news = (
            [{"host_id": host, "state": state, "event": self.event}]
            if args["since"] < self.event <= 3
            else []
        )
        return {"job": self.job(), "results": news, "event": self.event}


def test_watching_yields_each_change_until_the_job_is_over() -> None:
    with running() as rig:
        rig.master.answer = Jobs().answer
        with rig.client() as client:
            seen = [(result["host_id"], result["state"]) for result in client.watch(7)]
    assert seen == [(1, "dispatched"), (2, "ok"), (1, "ok")]


def test_running_a_module_waits_and_answers_each_host_once() -> None:
    with running() as rig:
        rig.master.answer = Jobs().answer
        with rig.client() as client:
            done = client.run("1003", ["web-01", "web-02"])
            assert done["job"]["state"] == "succeeded"
            assert {result["host_id"]: result["state"] for result in done["results"]} == {1: "ok", 2: "ok"}
            rig.master.answer = Jobs().answer
            assert client.run("1003", "web-01", wait=False) == {
                "job": {"id": 7, "state": "running", "event": 0},
                "results": [],
            }


def test_a_task_can_be_run_as_text_or_as_a_task() -> None:
    with running() as rig, rig.client() as client:
        task = Task("1003", (TaskHost("web-01", "192.168.1.21"),))
        for given in (task, task.format()):
            answer = client.runcommands(given)
            assert isinstance(answer, dict)
            assert answer["args"] == task.to_args()
    assert all(request.key for request, _ in rig.master.seen)


def test_a_refusal_leaves_the_connection_in_use() -> None:
    def refuse(request: Request, caller: Caller) -> Reply:
        return Reply.refusing(request.id, NotFound("There is no job 7."))

    with running() as rig, rig.client() as client:
        rig.master.answer = refuse
        for _ in range(3):
            with pytest.raises(NotFound, match="There is no job 7"):
                client.job(7)
        assert rig.server.gate.counts() == (1, 0)


def test_a_master_that_is_down_is_not_reached() -> None:
    with pytest.raises(NotReached, match="connection refused"):
        connect("127.0.0.1", free_port(), key=new_key("web"))


def test_a_lost_connection_is_made_again() -> None:
    key = new_key("web")
    with running(key=key) as rig:
        client = rig.client()
        client.status()
        port = rig.port
    with running(key=key, port=port) as rig:
        assert client.status()["op"] == "status"
        client.close()
    with pytest.raises(NotReached):
        client.status()


def dropping(rig: Rig, times: int) -> None:
    """Let the master act, and lose the connection before it can answer, so many times."""
    left = [times]

    def drop(request: Request, caller: Caller) -> Reply:
        if left[0]:
            left[0] -= 1
            for sock in list(rig.server._guests.values()):
                sock.shutdown(2)
        return Reply(request.id, ok=EVERYTHING)

    rig.master.answer = drop


def test_a_submit_whose_answer_was_lost_is_repeated_under_its_key() -> None:
    with running() as rig, rig.client() as client:
        dropping(rig, 1)
        assert client.submit("1003", hosts=["web-01"])["job"] == {"id": 7}
    (first, _), (second, _) = rig.master.seen
    assert first.key == second.key
    assert first.id != second.id


def test_what_must_not_be_repeated_is_not() -> None:
    with running() as rig, rig.client() as client:
        dropping(rig, 1)
        with pytest.raises(NotReached):
            client.change_password("a", "b")
        dropping(rig, 1)
        with pytest.raises(NotReached):
            client.call("job.submit", WORK)
    assert len(rig.master.seen) == 2


def test_it_is_repeated_once_and_no_more() -> None:
    with running() as rig, rig.client() as client:
        dropping(rig, 5)
        with pytest.raises(NotReached):
            client.status()
        assert len(rig.master.seen) == 2


def test_a_master_that_is_slow_is_given_up_in_time_and_not_asked_twice() -> None:
    hold = threading.Event()

    def slow(request: Request, caller: Caller) -> Reply:
        hold.wait(5)
        return Reply(request.id, ok={})

    with running() as rig, rig.client(timeout=0.3) as client:
        rig.master.answer = slow
        with pytest.raises(NotReached, match="did not answer in time"):
            client.status()
        hold.set()
        assert client.status() == {}
        assert len(rig.master.seen) == 2


def test_an_interrupted_question_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: Request, caller: Caller) -> Reply:
        if request.op == "status":
            time.sleep(0.3)
        return Reply(request.id, ok={"op": request.op})

    with running() as rig, rig.client() as client:
        rig.master.answer = answer
        with monkeypatch.context() as patch:
            patch.setattr(Transport, "_answer", interrupt)
            with pytest.raises(KeyboardInterrupt):
                client.status()
        assert client.call("modules.list") == {"op": "modules.list"}


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_plain_tcp_goes_to_this_machine_only() -> None:
    for host in ("192.0.2.1", "2001:db8::1"):
        with pytest.raises(NotReached, match="needs TLS"):
            connect(host, 11511, key=new_key("web"))


def test_the_address_of_a_master_that_listens_on_all_of_them_means_this_machine() -> None:
    with running() as rig, connect("0.0.0.0", rig.port, key=rig.key) as client:
        assert client.status()
    with pytest.raises(NotReached, match=r"not running at ::1:1:"):
        connect("::", 1, key=new_key("web"))


def test_a_request_larger_than_a_frame_is_not_sent() -> None:
    with running() as rig, rig.client() as client:
        with pytest.raises(ProtocolError, match="larger than the master takes"):
            client.call("status", {"text": "x" * 9_000_000})
        assert client.status()


def test_what_is_not_given_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with running() as rig:
        (tmp_path / "keys").mkdir()
        write_key(tmp_path / "keys" / "omctl.key", rig.key)
        monkeypatch.setenv("OMSERVER_RPYC_HOST", "localhost")
        monkeypatch.setenv("OMSERVER_RPYC_PORT", str(rig.port))
        monkeypatch.delenv("OMSERVER_KEY_FILE", raising=False)
        monkeypatch.setenv("OMSERVER_HOME", str(tmp_path))
        with connect() as client:
            client.ping()
            assert client.status()
        monkeypatch.setenv("OMSERVER_KEY_FILE", str(tmp_path / "missing.key"))
        with pytest.raises(BadKeyFile, match=r"missing\.key"):
            connect()


def test_the_python_example_of_the_docs_runs(tmp_path: Path) -> None:
    """Only its port, its key file and its password are filled in."""
    example = re.search(r"```python\n(.*?)```", PROTOCOL, re.DOTALL)
    assert example
    with running() as rig:
        rig.master.answer = lambda request, caller: Reply(request.id, ok=EVERYTHING | {"op": request.op})
        write_key(tmp_path / "key", rig.key)
        code = example[1].replace("11511", str(rig.port)).replace("KEY_FILE", str(tmp_path / "key"))
        namespace: dict[str, Any] = {}
        exec(compile(code, "docs/protocol.md", "exec"), namespace)
        namespace["connection"].close()
    assert namespace["session"] == "token"
    assert '"op":"runcommands"' in namespace["answer"]
    assert [caller.session_token for _, caller in rig.master.seen] == [None, "token"]
    lines = example[1].split("def seal")[1].split("# 1:")[0].split("\n")
    assert len([line for line in lines if line.strip()]) <= 8
