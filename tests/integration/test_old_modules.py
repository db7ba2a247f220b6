"""Modules of 2014 in their own style, live: their stand-ins drive the job's own engine."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omserver_client import Client
from omserver_client.errors import BadRequest
from omserver_master.store import engine as store
from omserver_master.store import jobs
from omserver_master.store.modules import source_of
from tests.system import System, wait_for_end

STOCK = Path(__file__).parent / "modules2014"
NAMES = ("alpha", "Beta", "gamma")
#: The same module once more under an id of its own for each engine's folder: hosts of the kind ``local`` take
#: the first folder that holds an id.
SHIFTED = {"saltstack": 0, "ansible": 1000, "func": 2000}
CLASS = """from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.names = target_host(hosts, "HN")
        self.ips = target_host(hosts, "IP")
        self.row = sys_param_row

    def run(self):
"""
SALT = '        return salt.client.LocalClient().cmd(self.names.split(";"), {}, expr_form="list")\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("modules2014")
    shutil.copytree(STOCK / "files", made / "files")
    for name, shift in SHIFTED.items():
        (made / name).mkdir()
        for module in (STOCK / name).glob("Mid_*.py"):
            shutil.copy(module, made / name / f"Mid_{int(module.stem[4:]) + shift}.py")
    return made


@pytest.fixture(scope="module")
def old_site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("old-site"), modules_dir=folder)
    for name in NAMES:
        system.add_hosts([name], system.add_connection(f"here-{name}", "local"))
    # alpha has 10.0.1.1; every call of add_hosts counts from 1, so the others get addresses of their own.
    with system.engine.begin() as conn:
        for number, name in enumerate(NAMES, start=1):
            conn.exec_driver_sql(
                f"UPDATE server_list SET server_lip = '10.0.1.{number}' WHERE server_name = '{name}'"
            )
    system.start()
    yield system
    system.close()


@pytest.fixture
def client(old_site: System) -> Iterator[Client]:
    with old_site.client() as client:
        yield client


class Done:
    """A job that is over: its rows by host, and what each host printed."""

    def __init__(self, client: Client, job: dict[str, Any]) -> None:
        self.client, self.job = client, job
        self.rows = {row["host"]: row for row in client.results(job["id"])["results"]}
        self.states = {host: row["state"] for host, row in self.rows.items()}

    def printed(self, host: str, stream: str = "stdout") -> str:
        answer = self.client.output(self.job["id"], self.rows[host]["host_id"], stream)
        return base64.b64decode(answer["text"]).decode()


def run(
    client: Client, module: str, names: Any = ("alpha", "Beta"), params: Any = (), **options: Any
) -> Done:
    job = client.submit(module, list(params), list(names), **options)["job"]["id"]
    return Done(client, wait_for_end(client, job, 60))


def write(folder: Path, number: int, body: str, engine: str = "saltstack") -> str:
    (folder / engine / f"Mid_{number}.py").write_text(CLASS + body)
    return str(number)


@pytest.mark.parametrize("engine", SHIFTED)
def test_a_stock_module_of_each_engine_runs_on_the_jobs_own_engine(client: Client, engine: str) -> None:
    issue = Path("/etc/issue").read_text().splitlines()[0].rstrip()
    done = run(client, str(1003 + SHIFTED[engine]))
    assert done.states == {"alpha": "ok", "Beta": "ok"}, done.rows
    assert done.printed("Beta").rstrip() == issue
    assert {row["rc"] for row in done.rows.values()} == {0}
    assert {row["connection"] for row in done.rows.values()} == {"here-alpha", "here-Beta"}


@pytest.mark.parametrize("engine", SHIFTED)
def test_a_command_that_fails_has_failed_with_its_return_code(client: Client, engine: str) -> None:
    done = run(client, str(1006 + SHIFTED[engine]), params=["lighttpd"])
    assert done.states == {"alpha": "failed", "Beta": "failed"}
    assert done.rows["alpha"]["rc"] == 1
    assert "No such file" in done.rows["alpha"]["reason"]
    limits = run(client, str(1006 + SHIFTED[engine]), params=["limits"])
    assert limits.printed("alpha").strip().isdigit()


@pytest.mark.parametrize("engine", SHIFTED)
def test_what_the_module_refuses_is_said_and_nothing_is_sent(client: Client, engine: str) -> None:
    done = run(client, str(1001 + SHIFTED[engine]), params=["1;id"])
    assert set(done.states.values()) == {"not_started"}
    assert done.printed("alpha") == "The number of lines has at most 3 digits."


@pytest.mark.parametrize("engine", SHIFTED)
def test_a_service_that_is_not_there_fails(client: Client, engine: str) -> None:
    done = run(client, str(1007 + SHIFTED[engine]), params=["lighttpd"])
    assert set(done.states.values()) == {"failed"}
    assert done.rows["alpha"]["rc"] not in (0, None)


def test_the_list_shows_one_module_by_its_title_with_its_engines(client: Client) -> None:
    listed = {module["id"]: module for module in client.modules()}
    assert listed["1003"]["title"] == "查看系统版本"
    assert (listed["1003"]["direct"], listed["1003"]["driven"], listed["1003"]["broken"]) == (
        True,
        True,
        None,
    )
    assert listed["1003"]["engines"] == ["salt", "salt-api", "local", "sim"]
    assert listed["2003"]["engines"] == ["ansible", "ssh", "local", "sim"]
    assert listed["3003"]["engines"] == ["func", "local", "sim"]


def test_a_host_of_another_engine_is_refused_with_the_reason(client: Client, old_site: System) -> None:
    way = old_site.add_connection("ways-of-func", "func", {})
    old_site.add_hosts(["funky"], way)
    with pytest.raises(
        BadRequest, match=r"funky is reached over ways-of-func \(func\); module 1003 works with"
    ):
        client.submit("1003", [], ["funky"])


def test_two_files_of_one_module_run_each_on_its_hosts_and_are_kept_together(
    client: Client, old_site: System, folder: Path
) -> None:
    body = SALT.format('"cmd.run", ["echo one"]')
    write(folder, 4001, body)
    other = '        return fc.Overlord(self.names).command.run("echo two")\n'
    write(folder, 4001, other, "func")
    found = next(module for module in client.modules() if module["id"] == "4001")
    assert found["engines"] == ["salt", "salt-api", "func", "local", "sim"]
    done = run(client, "4001")
    assert {done.printed(name).strip() for name in ("alpha", "Beta")} == {"one"}
    with store.read(old_site.engine) as conn:
        row = jobs.job_row(conn, done.job["id"])
        assert row is not None
        kept = source_of(conn, "4001", row["module_sha256"]) or ""
    assert "echo one" in kept
    assert "echo two" in kept


def test_a_broken_file_in_one_folder_is_named_with_its_line(client: Client, folder: Path) -> None:
    write(folder, 4002, '        print "old"\n', "func")
    broken = next(module for module in client.modules() if module["id"] == "4002")["broken"]
    assert broken["line"] == 11
    assert broken["reason"].startswith("in the folder func: SyntaxError")
    assert "print(...)" in broken["reason"]


REFUSED = [
    (SALT.format('"grains.items"'), "line 11: Salt's grains.items has no stand-in; there are cmd.retcode"),
    (
        '        return salt.client.LocalClient().cmd("*", "test.ping")\n',
        "'*' may mean hosts that nobody picked",
    ),
    (
        '        return salt.client.LocalClient().cmd("alpha,gamma", "test.ping", expr_form="list")\n',
        "'gamma' is not a host of this job",
    ),
    (
        '        return salt.client.LocalClient().cmd("G@os:Debian", "test.ping", expr_form="grain")\n',
        "'grain'",
    ),
    (
        '        return salt.client.LocalClient().run_job("alpha", "test.ping")\n',
        "LocalClient.run_job has no",
    ),
    ('        return salt.client.Caller().function("test.ping")\n', "salt.client.Caller has no stand-in"),
    ('        return fc.Overlord("*").command.run("id")\n', "'*' may mean hosts"),
    ("        return fc.Overlord(self.names).hardware.info()\n", "Func's hardware has no stand-in"),
    ('        return fc.Overlord(self.names).command.exec_("id")\n', "Func's command.exec_ has no stand-in"),
    (
        '        return ansible.runner.Runner(pattern=self.ips, module_name="yum").run()\n',
        "Ansible's yum has no stand-in",
    ),
    ('        return ansible.runner.Runner(pattern="all").run()\n', "'all' may mean hosts"),
    (
        '        return ansible.runner.Runner(pattern=self.ips, module_args="creates=/x id").run()\n',
        "no creates",
    ),
    (
        '        return Order_Run(self.ips, "copy", "src=nothing.conf dest=/tmp/x")\n',
        "'nothing.conf' cannot be read",
    ),
    ('        return Order_Run(self.ips, "copy", "src=../../secret dest=/tmp/x")\n', "is not within"),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED, ids=lambda value: value.strip()[:50])
def test_what_has_no_stand_in_is_an_error_with_the_line_and_touches_no_host(
    client: Client, folder: Path, body: str, reason: str
) -> None:
    done = run(client, write(folder, 4003, body))
    assert set(done.states.values()) == {"not_started"}
    assert reason in done.rows["alpha"]["reason"]
    assert "line 11" in done.rows["alpha"]["reason"]


def test_an_error_that_the_module_catches_names_the_line_too(client: Client, folder: Path) -> None:
    call = SALT.format("'pkg.install'")
    body = f"        try:\n    {call}        except Exception as e:\n            return str(e)\n"
    done = run(client, write(folder, 4004, body))
    assert "Mid_4004.py, line 12: Salt's pkg.install" in done.printed("alpha")
    assert set(done.states.values()) == {"not_started"}


SHAPES = [
    ('"cmd.run", ["echo out; echo err >&2"]', "ok", "out\nerr"),
    ('"cmd.run_all", ["echo out"]', "ok", "out"),
    ('"cmd.run_all", ["echo out; exit 3"]', "failed", "out"),
    ('"cmd.retcode", ["exit 4"]', "failed", "4"),
    ('"cmd.run", [], kwarg={"cmd": "pwd", "cwd": "/usr"}', "ok", "/usr"),
    ('"cmd.run", ["pwd", "cwd=/usr"]', "ok", "/usr"),
    ('"test.ping"', "ok", "true"),
    ('"file.file_exists", ["/nothing/there"]', "failed", ""),
    ('"cmd.run", ["x=\'1; 2\'; echo \\"$x\\""]', "ok", "1; 2"),
]


@pytest.mark.parametrize(("call", "state", "printed"), SHAPES)
def test_what_salt_returned_becomes_the_hosts_result(
    client: Client, folder: Path, call: str, state: str, printed: str
) -> None:
    done = run(client, write(folder, 4005, SALT.format(call)), ["Beta"])
    assert done.states == {"Beta": state}, done.rows
    assert printed in done.printed("Beta")


def test_files_of_the_site_are_put_where_the_module_says(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    wanted = (STOCK / "files" / "sysctl" / "sysctl.conf").read_bytes()
    calls = {
        "saltstack": SALT.format(f'"cp.get_file", ["salt://sysctl/sysctl.conf", "{tmp_path}/salt"]'),
        "ansible": '        return ansible.runner.Runner(pattern=self.ips, module_name="copy",'
        f' module_args="src=sysctl/sysctl.conf dest={tmp_path}/ansible mode=0600").run()\n',
        "func": "        data = xmlrpclib.Binary(b'kernel.sysrq = 0\\n')\n"
        f'        return fc.Overlord(self.names).copyfile.copyfile("{tmp_path}/func", data)\n',
    }
    for number, (engine, body) in enumerate(calls.items(), start=4010):
        done = run(client, write(folder, number, body, engine), ["alpha"])
        assert done.states == {"alpha": "ok"}, done.rows
    assert {(tmp_path / name).read_bytes() for name in ("salt", "ansible", "func")} == {wanted}
    assert (tmp_path / "ansible").stat().st_mode & 0o777 == 0o600


def test_order_run_of_the_later_editions_groups_its_hosts(client: Client, folder: Path) -> None:
    body = (
        '        found = Order_Run(self.ips, "shell", "pwd chdir=/usr")\n'
        '        assert set(found) == {"success", "failed", "unreachable"}, found\n'
        "        assert found.run() == found.get_result() == found\n"
        "        return found\n"
    )
    done = run(client, write(folder, 4006, body))
    assert done.states == {"alpha": "ok", "Beta": "ok"}, done.rows
    assert done.printed("alpha").strip() == "/usr"


def test_a_host_that_is_never_asked_was_not_started(client: Client, folder: Path) -> None:
    body = '        return fc.Overlord("ALPHA").command.run("echo it is me")\n'
    done = run(client, write(folder, 4007, body))
    assert done.states == {"alpha": "ok", "Beta": "not_started"}
    assert done.rows["Beta"]["reason"] == "The module asked nothing of this host."


def test_several_calls_are_several_steps_and_the_last_one_counts(client: Client, folder: Path) -> None:
    body = (
        '        client = fc.Overlord(self.names)\n        first = client.command.run("echo one; exit 3")\n'
        '        assert first["alpha"] == [3, "one\\n", ""], first\n'
        '        return client.command.run("echo two")\n'
    )
    done = run(client, write(folder, 4008, body))
    assert done.states == {"alpha": "ok", "Beta": "ok"}, done.rows
    assert done.printed("Beta").strip() == "two"


def test_the_jobs_deadline_and_its_cancel_reach_the_hosts(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    module = write(
        folder, 4009, SALT.format('"cmd.run", ["sleep 300 & echo $! >> " + self.row[0] + "; wait"]')
    )
    pids = tmp_path / "pids"
    late = run(client, module, ["alpha"], [str(pids)], timeout=1)
    assert late.states == {"alpha": "timed_out"}
    job = client.submit(module, [str(pids)], ["alpha"])["job"]["id"]
    wait_for(lambda: pids.is_file() and len(pids.read_text().split()) == 2)
    client.cancel(job)
    assert wait_for_end(client, job, 60)["state"] == "cancelled"
    assert Done(client, client.job(job)).states == {"alpha": "cancelled"}
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.read_text().split()))


def wait_for(true: Any, within: float = 30) -> None:
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
