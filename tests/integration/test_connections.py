"""Connections through the real master: added, changed, tried, removed; secrets are never shown."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from omserver_client import Client
from omserver_client.errors import BadRequest, Forbidden, NotFound
from omserver_master.backends import Setting, apart
from omserver_master.backends.base import NoInventory, Target
from omserver_master.machines import host_name
from omserver_master.roster import ways
from omserver_master.store import connections
from omserver_master.store.engine import begin, make_engine
from omserver_master.store.schema_version import upgrade
from omserver_master.store.sitekey import SiteKey
from tests.system import System, wait_for_end

SECRET = "hunter2 \u4e2d"
DECLARED = (
    Setting("url", "Where it is.", "地址。", required=True),
    Setting("count", "How many.", "数量。", type="number", default=3),
    Setting("password", "What opens it.", "密码。", secret=True),
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("ways"))
    system.add_user("olga", "operator")
    system.add_hosts(["alpha", "beta"], system.add_connection("here", "local"))
    system.start()
    yield system
    system.close()


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with system.client() as client:
        yield client


def test_a_connection_is_added_tried_changed_turned_off_and_removed(client: Client, tmp_path: Path) -> None:
    added = client.add_connection("dc1", "salt", {"config_dir": str(tmp_path)})
    assert (added["kind"], added["settings"], added["secrets"]) == ("salt", {"config_dir": str(tmp_path)}, [])
    trial = client.try_connection("dc1")
    assert not trial["up"]
    assert str(tmp_path) in trial["reason"]
    (listed,) = (each for each in client.connections() if each["name"] == "dc1")
    assert (listed["state"], listed["reason"]) == ("down", trial["reason"])
    client.set_connection("dc1", {"config_dir": f"{tmp_path}/other"})
    assert client.connection("dc1")["settings"] == {"config_dir": f"{tmp_path}/other"}
    assert client.rename_connection("dc1", "dc2")["name"] == "dc2"
    assert client.enable_connection("dc2", False)["state"] == "disabled"
    client.try_connection("dc2")
    assert client.connection("dc2")["state"] == "disabled", "a try says nothing about one that is off"
    assert client.enable_connection("dc2")["state"] == "unknown"
    client.remove_connection("dc2")
    with pytest.raises(NotFound):
        client.connection("dc2")
    actions = {row["action"] for row in client.audit(limit=20)["rows"] if row["target"] in ("dc1", "dc2")}
    verbs = {"add", "try", "set", "rename", "enable", "disable", "remove", "show"}
    assert actions == {f"connections.{verb}" for verb in verbs}


def test_a_preview_warns_of_hosts_whose_only_connection_is_turned_off(system: System, client: Client) -> None:
    system.add_hosts(["off-1"], system.add_connection("off", "local"))
    client.enable_connection("off", False)
    (warning,) = client.preview("1003", {}, ["off-1"])["warnings"]
    assert warning["text"] == "off-1 has no connection that is turned on; it would wait and expire."


def test_a_try_on_a_host_says_what_came_back(client: Client) -> None:
    trial = client.try_connection("here", "alpha")
    assert (trial["up"], trial["host"], trial["state"], trial["host_reason"]) == (True, "alpha", "ok", "")
    with pytest.raises(NotFound):
        client.try_connection("here", "nobody")
    client.add_connection("aside", "local")
    with pytest.raises(BadRequest, match="alpha is not reached over aside"):
        client.try_connection("aside", "alpha")
    client.remove_connection("aside")


def test_a_connection_in_use_is_not_removed_and_the_number_of_hosts_is_said(client: Client) -> None:
    with pytest.raises(BadRequest, match="2 hosts are reached over here") as refused:
        client.remove_connection("here")
    assert refused.value.details["hosts"] == 2


def test_the_masters_machine_serves_what_means_a_machine_and_any_machine_the_rest(client: Client) -> None:
    for name, kind, settings in (("mine", "local", {}), ("far", "ssh", {"user": "x"})):
        client.add_connection(name, kind, settings)
    this = host_name()
    assert (client.connection("mine")["machines"], client.connection("mine")["here"]) == ([this], True)
    assert (client.connection("far")["machines"], client.connection("far")["here"]) == ([], True)
    usual = {each["kind"]: each["machines"] for each in client.connection_kinds()}
    assert (usual["salt"], usual["local"], usual["salt-api"]) == ([this], [this], [])
    client.set_connection("far", machines=["SZ-1", "gd_1", "sz-1"])
    far = client.connection("far")
    assert (far["machines"], far["here"]) == (["gd_1", "sz-1"], False)
    client.set_connection("far", {"port": 23})
    assert client.connection("far")["machines"] == ["gd_1", "sz-1"], "what is not named stays"
    details = [row["detail"] for row in client.audit(limit=20)["rows"] if row["target"] == "far"]
    assert "served by gd_1, sz-1" in details
    client.set_connection("far", machines=[])
    assert client.connection("far")["machines"] == []
    for name in ("mine", "far"):
        client.remove_connection(name)


def test_what_another_machine_serves_is_never_asked_from_here(client: Client, tmp_path: Path) -> None:
    """Neither when it is added, where the engine may be missing here, nor for its hosts."""
    client.add_connection("dc2", "salt", {"config_dir": str(tmp_path)}, machines=["sz-1"])
    with pytest.raises(BadRequest, match="dc2 is served by sz-1; it can't be asked from") as refused:
        client.try_connection("dc2")
    assert refused.value.details["field"] == "connection"
    with pytest.raises(BadRequest, match="dc2 is served by sz-1"):
        client.preview_import(source="dc2")
    assert client.connection("dc2")["state"] == "unknown"
    client.remove_connection("dc2")


@pytest.mark.parametrize("names", [["a b"], ["a,b"], [""], ["x" * 65], [f"m{n}" for n in range(17)]])
def test_machines_that_cannot_be_add_nothing(client: Client, names: list[str]) -> None:
    with pytest.raises(BadRequest) as refused:
        client.add_connection("bad", "local", machines=names)
    assert refused.value.details["field"] == "machines"
    assert "bad" not in [each["name"] for each in client.connections()]


def test_a_job_that_no_machine_can_do_is_refused_when_it_is_looked_at_and_when_it_is_submitted(
    client: Client,
) -> None:
    for host, machine in (("near-1", "gd-1"), ("far-1", "sz-1")):
        client.add_connection(f"to-{host}", "local", machines=[machine])
        client.add_host(host, ways=[{"connection": f"to-{host}"}])
    for ask in (client.preview, client.submit):
        with pytest.raises(BadRequest, match=r"near-1 \(gd-1\); far-1 \(sz-1\)\. Run") as refused:
            ask("1003", {}, ["near-1", "far-1"])
        assert refused.value.details["field"] == "hosts"
    job = client.submit("1003", {}, ["far-1"])["job"]
    assert (job["why"]["code"], job["why"]["text"]) == ("no_machine", "No worker on machine sz-1 is running.")
    client.add_connection("jump", "local", machines=["gd-1"])
    client.enable_connection("jump", False)
    client.set_ways(["far-1"], add={"connection": "jump"})
    assert client.job(job["id"])["why"]["values"] == {"machines": ["sz-1"]}, "what is off counts for nothing"
    client.enable_connection("jump")
    client.enable_connection("to-far-1", False)
    assert client.job(job["id"])["why"]["values"] == {"machines": ["gd-1"]}, "it follows what is on"
    client.set_ways(["far-1"], ways=[{"connection": "here"}])
    assert wait_for_end(client, job["id"])["state"] == "succeeded", "it follows the host's way"


def test_two_hosts_are_not_known_by_one_id_in_whatever_case(client: Client) -> None:
    client.add_connection("ids", "local")
    client.set_ways(["alpha"], add={"connection": "ids", "remote_id": "one"})
    for remote_id in ("one", "ONE"):
        with pytest.raises(BadRequest, match="Another host is known as") as refused:
            client.set_ways(["beta"], add={"connection": "ids", "remote_id": remote_id})
        assert refused.value.details["field"] == "remote_id"
    assert [way["connection"] for way in client.host("beta")["ways"]] == ["here"]
    client.set_ways(["alpha"], remove="ids")
    client.remove_connection("ids")


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("carrier-pigeon", {}, "kind"),
        ("local", {"nonsense": 1}, "settings.nonsense"),
        ("salt", {"config_dir": "etc"}, "settings.config_dir"),
        ("salt", {"config_dir": ["a"]}, "settings.config_dir"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_adds_nothing(
    client: Client, kind: str, settings: Mapping[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        client.add_connection("bad", kind, settings)
    assert refused.value.details["field"] == field
    assert "bad" not in [each["name"] for each in client.connections()]


def test_a_name_that_is_taken_or_impossible_is_refused(client: Client) -> None:
    for name in ("here", "a\x1bb", " blank ", "a/b", "a,b", "a=b"):
        with pytest.raises(BadRequest) as refused:
            client.add_connection(name, "local")
        assert refused.value.details["field"] == "connection"


def test_only_an_admin_sees_or_changes_connections(system: System) -> None:
    calls = ["list", "show", "add", "set", "rename", "enable", "disable", "remove", "try"]
    with system.client(user="olga") as client:
        assert {each["kind"] for each in client.connection_kinds()} >= {"local", "salt"}
        for call in calls:
            with pytest.raises(Forbidden):
                client.call(f"connections.{call}", {"connection": "here"})


def test_the_master_itself_loads_no_engine(system: System, client: Client) -> None:
    client.add_connection("looked", "salt", {"config_dir": "/nowhere"})
    client.try_connection("looked")
    client.remove_connection("looked")
    maps = Path(f"/proc/{system.pid}/maps").read_text()
    assert "/salt/" not in maps
    assert "zmq" not in maps, "what Salt brings into each process that loads it"


# --- Secrets ---------------------------------------------------------------------------------


@pytest.fixture
def secretive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A database, a site key, and a kind of connection with a secret setting in place of ``local``."""
    monkeypatch.setattr(ways, "settings_of", lambda kind: DECLARED)
    engine = make_engine(f"sqlite:///{tmp_path}/test.db")
    upgrade(engine)
    yield engine, SiteKey.of(b"k" * 32)
    engine.dispose()


def test_a_secret_is_stored_encrypted_and_kept_when_a_form_leaves_it_empty(secretive: Any) -> None:
    engine, key = secretive
    with begin(engine) as conn:
        ways.add(conn, key, "dc1", "local", {"url": "https://one", "password": SECRET})
        row = connections.connection_by_name(conn, "dc1")
        assert row is not None
        assert row["settings"] == {"url": "https://one"}
        assert SECRET.encode() not in row["secrets"]
        assert SECRET not in json.dumps(row["settings"])
        ways.change(conn, key, row, {"url": "https://two", "password": "", "count": ""})
        row = connections.connection_by_name(conn, "dc1")
        assert row is not None
        assert connections.full_settings(key, row) == {"url": "https://two", "password": SECRET}
        ways.change(conn, key, row, {"password": None})
        row = connections.connection_by_name(conn, "dc1")
        assert row is not None
        assert row["secrets"] is None


def test_a_secret_cannot_be_opened_as_that_of_another_connection_or_site(secretive: Any) -> None:
    engine, key = secretive
    with begin(engine) as conn:
        ways.add(conn, key, "one", "local", {"url": "x", "password": SECRET})
        ways.add(conn, key, "two", "local", {"url": "x", "password": "other"})
        one, two = (connections.connection_by_name(conn, name) for name in ("one", "two"))
        assert one is not None
        assert two is not None
        with pytest.raises(Exception, match="not sealed with this site key"):
            connections.full_settings(key, {**two, "secrets": one["secrets"]})
    other = SiteKey.of(b"o" * 32)
    assert ways.openable_secrets(other, one) == {}, "it can be given anew"
    assert "cannot be read" in ways.try_way(engine, other, one).reason


def test_an_error_about_a_secret_does_not_hold_it(secretive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, key = secretive
    with begin(engine) as conn, pytest.raises(BadRequest) as refused:
        ways.add(conn, key, "dc1", "local", {"url": "x", "password": f"{SECRET}\0"})
    assert refused.value.details["field"] == "settings.password"
    assert SECRET not in str(refused.value)
    monkeypatch.setattr("omserver_master.backends.settings_of", lambda kind: DECLARED)
    with pytest.raises(ValueError, match=r"\*\*\*") as wrong:
        # The real engine takes no such setting, and its sentence names the one that it was given.
        apart.check("local", f"dc1 {SECRET}", {"password": SECRET})
    assert SECRET not in str(wrong.value)


# --- The process apart -----------------------------------------------------------------------


def test_an_engine_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, subprocess, sys
child = subprocess.Popen(["sleep", "1000"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
child.wait()
"""
    monkeypatch.setattr(apart, "sys", _python_that_runs(tmp_path, code))
    began = time.monotonic()
    found = apart.probe("local", "slow", {}, seconds=3)
    assert not found.up
    assert "did not answer within" in found.reason
    assert time.monotonic() - began < 20
    for pid in pids.read_text().split():
        assert not _runs(int(pid)), "nothing of it goes on"


def test_what_an_engine_prints_does_not_get_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import os
from omserver_master.backends import apart
from omserver_master.backends.local import LocalBackend
def chatty(self):
    print("{"); os.write(1, b"[")
    raise RuntimeError("no engine today")
LocalBackend.probe = chatty
apart.main()
"""
    monkeypatch.setattr(apart, "sys", _python_that_runs(tmp_path, code))
    found = apart.probe("local", "chatty", {})
    assert found.reason == "The engine failed: RuntimeError: no engine today"


def test_a_kind_without_a_list_of_hosts_says_so_and_one_host_answers() -> None:
    with pytest.raises(NoInventory):
        apart.inventory("local", "here", {}, 5)
    answer = apart.try_host("local", "here", {}, Target("1", "alpha"), 10)
    assert (answer.state, answer.rc) == ("done", 0)


def test_settings_stand_in_no_list_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "argv"
    code = f"""
import os
from omserver_master.backends import apart
line = open("/proc/self/cmdline", "rb").read() + open("/proc/self/environ", "rb").read()
open({str(seen)!r}, "wb").write(line)
apart.main()
"""
    monkeypatch.setattr(apart, "sys", _python_that_runs(tmp_path, code))
    monkeypatch.setenv("OMSERVER_DATABASE_URL", "mariadb://user:database-password@host/name")
    assert apart.probe("sim", "x", {"socket": "/secret-in-a-setting"}).up is False
    assert b"secret-in-a-setting" not in seen.read_bytes()
    assert b"database-password" not in seen.read_bytes()


class _python_that_runs:  # noqa: N801 -- stands in for the module sys
    """``sys`` with an executable that runs *code*, whatever it is told to run."""

    def __init__(self, folder: Path, code: str) -> None:
        script = folder / "code.py"
        script.write_text(code)
        program = folder / "python"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
        program.chmod(0o755)
        self.executable = str(program)


def _runs(pid: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True
