"""The overlord calls minions over real TLS, in both profiles."""

from __future__ import annotations

import base64
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xmlrpc.client import Binary

import pytest

from omserver_func.errors import FuncClientError, error_of, is_error
from omserver_func.overlord import Client, Overlord
from omserver_func.wire import read_reply

from .site import FuncSite, func_site, openssl

ONE, TWO = "127.0.0.2", "127.0.0.3"
_MODULE = """
import func_module

class Uptime(func_module.FuncModule):
    version = "1.5"
    api_version = "2"
    description = "Tells the time."

    def seconds(self, start=0):
        return start + 5

    def _hidden(self):
        return "never"
"""


@pytest.fixture(scope="module", params=["modern", "legacy"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuncSite]:
    folder: Path = tmp_path_factory.mktemp(f"func-{request.param}")
    modules = folder / "modules"
    (modules / "clock").mkdir(parents=True)
    (modules / "uptime.py").write_text(_MODULE)
    (modules / "clock" / "tower.py").write_text(_MODULE)
    (modules / "broken.py").write_text("this is no python")
    (modules / "open.py").write_text(_MODULE)
    (modules / "open.py").chmod(0o666)
    with func_site(folder, ONE, TWO, profile=request.param, module_folder=modules) as site:
        yield site


@pytest.fixture
def call(site: FuncSite) -> Any:
    """Calls a method on one minion: ``call("test.add", 1, 2)``."""
    overlord = site.overlord(ONE, noglobs=True)
    return lambda name, *args: overlord.run(*name.rsplit(".", 1), args)


def test_every_minion_answers_in_one_result(site: FuncSite) -> None:
    for nforks in (1, 8):
        assert site.overlord(nforks=nforks).test.ping() == {ONE: 1, TWO: 1}
    assert site.overlord(noglobs=True).test.add(1, 2) == 3
    assert Client(ONE, config=site.overlord_config()).list_minions() == [ONE]
    with pytest.raises(AttributeError, match="no method called: ping"):
        site.overlord().ping()


def test_what_a_command_says_comes_back_as_the_original_gives_it(call: Any) -> None:
    assert call("command.run", "echo vm; echo err >&2; exit 3") == [3, "vm\n", "err\n"]
    assert call("command.run", "kill -9 $$")[0] == -9
    assert call("command.run", "no-such-program")[0] == 127
    assert call("command.run", "env", {"ONLY": "this", "PATH": "/usr/bin:/bin"})[1].count("ONLY=this\n") == 1
    assert "HOME=" not in call("command.run", "env", {"ONLY": "this", "PATH": "/usr/bin:/bin"})[1]
    assert call("command.exists", "/bin/sh") is True
    assert call("command.exists", "ls") is False


def test_a_command_that_leaves_something_in_the_background_is_not_waited_for(call: Any) -> None:
    began = time.monotonic()
    assert call("command.run", "sleep 30 >/dev/null & echo said") == [0, "said\n", ""]
    assert call("command.run", "sleep 30 & echo said; kill $!") == [0, "said\n", ""]
    assert time.monotonic() - began < 20


def test_names_of_modules_and_methods_are_told(call: Any) -> None:
    modules = call("system.list_modules")
    assert modules == sorted(modules)
    wanted = {"command", "copyfile", "echo", "func_module", "getfile", "process", "service", "test", "jobs"}
    assert wanted | {"uptime", "clock.tower", "omserver"} <= set(modules)
    assert not {"broken", "open"} & set(modules)
    methods = call("system.list_methods")
    assert methods == call("system.listMethods") == sorted(methods)
    assert {"test.ping", "system.inventory", "clock.tower.seconds", "uptime.module_version"} <= set(methods)
    assert not [name for name in methods if name.rpartition(".")[2].startswith(("_", "register"))]
    assert set(call("system.inventory")["command"]) >= {"run", "exists", "list_methods", "grep"}
    assert call("system.grep", "tower")["func.minion.server.list_modules"] == "clock.tower"
    assert call("fact.list_fact_methods") == []


def test_a_sites_own_module_is_called_like_any_other(call: Any) -> None:
    assert call("uptime.seconds") == 5
    assert call("clock.tower.seconds", 2) == 7
    said = [call(f"uptime.module_{what}") for what in ("version", "api_version", "description")]
    assert said == ["1.5", "2", "Tells the time."]
    assert call("uptime.get_method_args") == {}
    assert call("uptime.config_items") == []


@pytest.mark.parametrize(
    ("name", "args", "kind"),
    [
        ("nothing.at", [], "func.minion.codes.ModuleNotFoundException"),
        ("test.nothing", [], "func.minion.codes.InvalidMethodException"),
        ("uptime._hidden", [], "func.minion.codes.InvalidMethodException"),
        ("uptime.__init__", [], "func.minion.codes.InvalidMethodException"),
        ("uptime.register_method_args", [], "func.minion.codes.InvalidMethodException"),
        ("test.add", [1], "exceptions.TypeError"),
        ("test.add", [1, "a"], "exceptions.TypeError"),
        ("test.explode", [], "exceptions.RuntimeError"),
        ("test.explode_no_string", [], "exceptions.RuntimeError"),
        ("service.start", ["no-such-service"], "func.minion.codes.FuncException"),
        ("service.start", ["--help"], "func.minion.codes.FuncException"),
        ("process.kill", ["0"], "func.minion.codes.FuncException"),
        ("process.kill", ["-1"], "func.minion.codes.FuncException"),
        ("process.info", ["-e; id"], "func.minion.codes.FuncException"),
        ("copyfile.copyfile", ["/tmp/x", "plain text"], "exceptions.AttributeError"),
        ("test.echo", [{"__fact__": ["AND", [["os", "x"]]]}], "exceptions.AttributeError"),
    ],
)
def test_what_goes_wrong_is_a_list_without_a_traceback(
    call: Any, name: str, args: list[Any], kind: str
) -> None:
    answer = call(name, *args)
    assert answer[:2] == ["REMOTE_ERROR", kind]
    assert answer[3] == ""
    assert 'File "' not in answer[2]


def test_no_connection_is_that_hosts_error_and_no_exception(site: FuncSite) -> None:
    for name in ("127.0.0.77", "no-such-host.invalid"):
        (site.files.cert_root / f"{name}.cert").touch()
    try:
        answers = site.overlord().test.ping()
    finally:
        for name in ("127.0.0.77", "no-such-host.invalid"):
            (site.files.cert_root / f"{name}.cert").unlink()
    assert answers.pop("127.0.0.77")[:2] == ["REMOTE_ERROR", "socket.error"]
    assert answers.pop("no-such-host.invalid")[1] in ("socket.gaierror", "socket.timeout")
    assert answers == {ONE: 1, TWO: 1}
    late = site.overlord(ONE, timeout=0.3).test.sleep(3)[ONE]
    assert late[:2] == ["REMOTE_ERROR", "socket.timeout"]


def test_a_minion_cannot_pose_as_another_host(site: FuncSite) -> None:
    (site.files.cert_root / "localhost.cert").touch()
    site_port = site.port
    posing = site.start("127.0.0.1")  # its certificate says 127.0.0.1, and nothing of localhost
    try:
        assert posing.server.port == site_port
        answer = site.overlord("localhost").test.ping()["localhost"]
        assert answer[:2] == ["REMOTE_ERROR", "OpenSSL.SSL.Error"]
        assert "belongs to 127.0.0.1, not to localhost" in answer[2]
        assert site.overlord("localhost", verify_minion_name=False).test.ping() == {"localhost": 1}
    finally:
        posing.stop()
        del site.minions["127.0.0.1"]
        for name in ("localhost", "127.0.0.1"):
            (site.files.cert_root / f"{name}.cert").unlink()


def test_jobs_in_the_background_go_through_the_states_of_the_original(site: FuncSite, tmp_path: Path) -> None:
    overlord = site.overlord(**{"async": True})
    flag = tmp_path / "go on"
    command = f"while [ ! -e '{flag}' ]; do sleep 0.05; done; echo on"
    job = overlord.command.run(command)
    assert job.startswith("*-command-run-")
    seen = set()
    while (status := overlord.job_status(job)) != (3, {}):
        seen.add(status[0])
        assert seen <= {0}, status
        time.sleep(0.02)
    assert job in overlord.open_job_ids()
    flag.touch()
    done = overlord.local.utils.async_poll(job, interval=0.05)
    assert done == {ONE: [0, "on\n", ""], TWO: [0, "on\n", ""]}
    assert overlord.job_status(job) == (1, done)
    assert site.overlord(async_="false").job_status(job) == (1, done), "another process of this user"
    assert overlord.job_status("*-never-was-1.0") == (2, 0)
    folder = site.folder / "jobs"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_errors_of_background_jobs_are_their_hosts_results(site: FuncSite) -> None:
    (site.files.cert_root / "127.0.0.77.cert").touch()
    try:
        overlord = site.overlord(async_=True)
        answers = overlord.local.utils.async_poll(overlord.test.explode(), interval=0.05)
    finally:
        (site.files.cert_root / "127.0.0.77.cert").unlink()
    assert answers["127.0.0.77"][:2] == ["REMOTE_ERROR", "socket.error"]
    assert answers[ONE][:2] == ["REMOTE_ERROR", "exceptions.RuntimeError"]
    big = overlord.local.utils.async_poll(overlord.test.bigint(), interval=0.05)
    assert big[ONE][:2] == ["REMOTE_ERROR", "exceptions.OverflowError"]


def test_files_are_copied_there_and_back(site: FuncSite, tmp_path: Path, call: Any) -> None:
    content = os.urandom(150_000)
    source, target = tmp_path / "source", tmp_path / "made" / "target"
    source.write_bytes(content)
    old_umask = os.umask(0)
    try:
        assert call("copyfile.copyfile", str(target), Binary(content), 0o640, os.getuid(), os.getgid()) == 1
    finally:
        os.umask(old_umask)
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (content, 0o640)
    assert call("copyfile.copyfile", str(target), Binary(content)) == 0
    for number in (1, 2):
        assert call("copyfile.copyfile", str(target), Binary(b"new%d" % number)) == 1
    kept = sorted(file.name for file in target.parent.iterdir() if file != target)
    assert len(kept) == 2
    assert all(name.startswith("target.20") for name in kept)
    assert {(target.parent / name).read_bytes() for name in kept} == {content, b"new1"}
    assert call("copyfile.copyfile", "/dev/null/x", Binary(b"")) == -1
    assert call("copyfile.copyfile", "relative", Binary(b""))[1] == "func.minion.codes.FuncException"

    sent = tmp_path / "sent"
    one = site.overlord(ONE)
    assert one.local.copyfile.send(str(source), str(sent)) == {ONE: True}
    assert sent.read_bytes() == content
    assert is_error(one.local.copyfile.send(str(source), "/nowhere/at/all")[ONE])
    both = site.overlord()
    assert both.local.getfile.get(str(sent), str(tmp_path / "back")) == (0, str(tmp_path / "back"))
    assert {(tmp_path / "back" / host / "sent").read_bytes() for host in (ONE, TWO)} == {content}
    code, why = both.local.getfile.get("/no/such/file", str(tmp_path / "back"))
    assert code == 1
    assert "/no/such/file" in why
    assert call("getfile.chunkslen", "/no/such/file") == -1
    assert call("getfile.getchunk", 0, "/no/such/file") == [-1, ""]
    text = call("getfile.getchunk", 2, str(sent))[1]
    assert base64.b64decode(text) == content[120_000:]
    assert call("copyfile.checksum", "some text") == "37aa63c77398d954473262e1a0057c1e632eda77"


def test_processes_are_told_of_and_ended(call: Any) -> None:
    assert len(call("process.loadavg")) == 5
    assert [str(os.getpid())] in [row[1:2] for row in call("process.info")]
    rows = call("process.mem")
    assert all(row[0] + row[1] <= row[2] + 1 and isinstance(row[3], str) for row in rows)
    pid = int(call("command.run", "sleep 3141 >/dev/null 2>&1 & echo $!")[1])
    assert call("process.kill", pid, "KILL") == 0
    assert call("process.pkill", "no-such-program-here", "-9") == 1


def test_services_are_told_of(call: Any) -> None:
    running = call("service.get_running")
    assert all(len(row) == 3 and row[1] in ("running", "dead", "stopped") for row in running)
    assert call("service.inventory")["running"] == running


def test_a_value_that_programs_of_funcs_time_look_for_is_there(site: FuncSite) -> None:
    """Rows are ``ok`` if ``v[0] == 0``, and else show ``v[1]``."""
    for value in site.overlord().command.run("exit 0").values():
        assert value[0] == 0
    assert error_of(TimeoutError("late"))[:2] == ["REMOTE_ERROR", "socket.timeout"]
    assert site.overlord().local.test.return1() == 1
    with pytest.raises(FuncClientError):
        site.overlord("nothing*")


def test_many_calls_at_once_are_not_mixed_up(site: FuncSite) -> None:
    overlord = site.overlord(ONE, noglobs=True)
    wrong: list[Any] = []

    def ask(number: int) -> None:
        for turn in range(10):
            text = f"{number}-{turn}"
            if overlord.test.echo(text) != text:
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_name_runs_once_ends_and_is_cancelled(site: FuncSite, tmp_path: Path) -> None:
    one = site.overlord(ONE, noglobs=True)
    log = tmp_path / "log"

    def run(name: str, text: str, seconds: float) -> dict[str, Any]:
        argv = ["/bin/sh", "-c", text, "sh", str(log)]
        return one.omserver.run(name, argv, Binary(b"input"), 100, seconds)

    for _ in range(3):
        said = run("a", 'echo ran >>"$1"; cat', 15)
        assert (said["state"], said["rc"], said["output"].data) == ("done", 0, b"input")
    assert log.read_text() == "ran\n"
    assert run("b", "sleep 3142", 0)["state"] == "running"
    assert one.omserver.wait("b", 0.1)["state"] == "running"
    assert one.omserver.cancel("b")["state"] == "stopped"
    assert one.omserver.wait("b", 0)["state"] == "stopped"
    assert one.omserver.cancel("c")["state"] == "cancelled"
    assert run("c", 'echo never >>"$1"', 0)["state"] == "cancelled"
    assert one.omserver.wait("d", 0)["state"] == "none"
    assert len(run("e", "head -c 1000 /dev/zero", 15)["output"].data) == 101
    assert run("f", "exit 7", 15)["rc"] == 7
    assert log.read_text() == "ran\n"
    assert one.omserver.run("g", [], Binary(b""), 1, 1)[1] == "func.minion.codes.FuncException"
    assert one.omserver.run("h", ["/no/such"], Binary(b""), 1, 1)["rc"] == 127


def test_certificates_of_the_old_kind_are_refused_by_the_modern_profile(site: FuncSite) -> None:
    text = openssl("x509", "-in", site.files.ca_cert, "-noout", "-text")
    assert ("sha1With" in text) == (site.profile == "legacy")
    if site.profile == "modern":
        return
    try:
        answer = Overlord(ONE, config=replace(site.overlord_config(), profile="modern")).test.ping()[ONE]
    except FuncClientError as error:  # some builds of OpenSSL refuse to load them at all
        answer = [None, "OpenSSL.SSL.Error", str(error)]
    assert answer[1] == "OpenSSL.SSL.Error"
    assert "weak" in answer[2].lower()


def test_a_reply_is_a_document_of_xml_rpc() -> None:
    assert (
        read_reply(b"<methodResponse><params><param><value><nil/></value></param></params></methodResponse>")
        is None
    )
