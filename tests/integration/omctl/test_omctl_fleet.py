"""``omctl connection`` and ``omctl host`` against the real master, as one would type them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system import CHECKOUT, System

Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("omctl-fleet"), auto_platform="local")
    system.add_user("olga", "operator")
    system.start()
    yield system
    system.close()


@pytest.fixture
def omctl(system: System, tmp_path: Path) -> Shell:
    """Runs a line of a shell after ``omctl``, logged in as admin."""
    environment = system.environment | {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}

    def run(line: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        command = f"{shlex.quote(sys.executable)} -m omserver_client.omctl {line}"
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=tmp_path, env=environment, input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done

    run("login admin --password-stdin", system.passwords["admin"] + "\n")
    return run


def test_connections_from_the_first_to_the_last(omctl: Shell, tmp_path: Path) -> None:
    assert "salt-api" in omctl("connection kinds").stdout
    assert "password" in omctl("connection kinds salt-api").stdout
    assert "here is up" in omctl("connection add here --kind local").stdout
    down = omctl(f"connection add dc1 --kind salt --set config_dir={tmp_path}", code=3)
    assert "dc1 is down:" in down.stdout
    listed = omctl("connection list").stdout
    assert "here" in listed
    assert "down" in listed
    omctl("host add web-01 --connection here --inner-ip 10.0.0.1")
    tried = omctl("connection try here --host web-01").stdout
    assert "web-01: ok" in tried
    assert "1 host is reached over here" in omctl("connection remove here", code=2).stderr
    assert "is off" in omctl("connection disable here").stdout
    assert "is on" in omctl("connection enable here").stdout
    omctl("connection set dc1 --rename dc2 --no-try")
    assert omctl("connection show dc2 --json").stdout.startswith("{")
    omctl("connection remove dc2")
    omctl("connection try dc2", code=2)


def test_a_connection_names_the_machines_that_serve_it(omctl: Shell) -> None:
    added = omctl("connection add there --kind local --machine sz-1 --machine GD-1").stdout
    assert "It was not tried: it is served by gd-1, sz-1 alone." in added
    assert "gd-1, sz-1" in omctl("connection list").stdout
    assert "machines  gd-1, sz-1" in omctl("connection show there").stdout
    assert "there is served by gd-1, sz-1" in omctl("connection try there", code=2).stderr
    assert "there is up" in omctl("connection set there --any-machine").stdout
    assert "machines  any" in omctl("connection show there").stdout
    omctl("connection set there --any-machine --machine gd-1", code=2)
    assert "--machine" in omctl("connection set there", code=2).stderr
    omctl("connection remove there")


def test_a_secret_comes_from_a_file_or_standard_input_and_is_never_shown(
    omctl: Shell, tmp_path: Path
) -> None:
    (tmp_path / "word").write_text("hunter-2\n")
    line = "connection add api --kind salt-api --set url=https://127.0.0.1:9 --set user=x --no-try"
    omctl(f"{line} --secret-file password=word")
    shown = omctl("connection show api").stdout
    assert "password  (set, not shown)" in shown
    omctl("connection set api --secret-file password=- --no-try", stdin="hunter-3\n")
    whole = omctl("connection list --json").stdout + omctl("connection show api --json").stdout + shown
    assert "hunter" not in whole
    assert "no terminal" in omctl("connection set api --secret password", code=2).stderr
    omctl("connection remove api")


def test_what_is_wrong_is_one_line_and_code_2(omctl: Shell) -> None:
    for line, says in (
        ("connection add x --kind pigeon", "There is no kind 'pigeon'"),
        ("connection add x --kind local --set nonsense=1", "there is no setting 'nonsense'"),
        ("connection add x --kind local --set nonsense", "NAME=VALUE"),
        ("connection show nowhere", "There is no connection 'nowhere'"),
        ("host add 'a<b' --connection nowhere", "nowhere"),
        ("host set nobody --state retired", "Not a host here: nobody"),
        ("host set web-01 --label nonsense", "'nonsense' is no label like pair=db-a."),
        ("host import", "exactly one of --from and --csv"),
        ("host import --csv no-such-file", "no-such-file"),
        ("host ways web-01 --up a --down b", "exactly one"),
    ):
        done = omctl(line, code=2)
        assert says in done.stderr, line
        assert len(done.stderr.splitlines()) == 1, line


def test_hosts_are_imported_shown_and_put_in_order(omctl: Shell, tmp_path: Path) -> None:
    for name in ("one", "two"):
        omctl(f"connection add {name} --kind local --no-try")
    (tmp_path / "hosts.csv").write_text(
        "server_name,server_lip,connection\nimp-01,10.5.0.1,one\nimp-02,10.5.0.2,one\n"
    )
    line = "host import --csv hosts.csv --category Linux.Web --app shop"
    preview = omctl(line).stdout
    assert "hosts.csv: 2 new" in preview
    digest = preview.split("--expect ")[1].strip()
    assert "imp-01" not in omctl("host list").stdout, "it was only shown"
    omctl(f"{line} --apply --expect another", code=2)
    assert "Done: 2 added, 0 changed." in omctl(f"{line} --apply --expect {digest}").stdout
    again = json.loads(omctl(f"{line} --apply --json").stdout)
    assert (again["counts"]["same"], again["counts"]["new"], again["applied"]) == (2, 0, True)

    omctl("host set imp-01 imp-02 --label pair=a --label rack=r3")
    omctl("host set imp-01 --label rack=")
    assert json.loads(omctl("host show imp-01 --json").stdout)["labels"] == {"pair": "a"}
    assert "label rack" in omctl("host show imp-02").stdout
    assert "Changed 2 hosts." in omctl("host ways imp-01 imp-02 --add two").stdout
    omctl("host ways imp-01 --up two")
    shown = json.loads(omctl("host show imp-01 --json").stdout)
    assert [way["connection"] for way in shown["ways"]] == ["two", "one"]
    omctl("host ways imp-01 --set one=IMP-01")
    assert "way 1: one as IMP-01" in omctl("host show IMP-01").stdout
    omctl("host ways imp-02 --remove two")
    omctl("host set imp-01 imp-02 --state maintenance")
    assert omctl("host list --search imp-").stdout.count("maintenance") == 2
    omctl("host set imp-01 --rename imp-09 --outer-ip 192.0.2.9")
    assert "192.0.2.9" in omctl("host show imp-09").stdout


def test_who_is_no_admin_is_refused(omctl: Shell, system: System) -> None:
    omctl("login olga --password-stdin", system.passwords["olga"] + "\n")
    for line in ("connection list", "connection try here", "host import --csv /dev/null", "host add x"):
        assert "admin" in omctl(line, code=2).stderr


def test_names_that_would_reach_the_terminal_are_shown_written_out(omctl: Shell, tmp_path: Path) -> None:
    (tmp_path / "evil.csv").write_bytes(b"name\nevil\x1b[2Jname\nfine\n")
    preview = omctl("host import --csv evil.csv").stdout
    assert "\x1b" not in preview
    assert "\\x1b[2J" in preview
    assert "1 new, 1 refused" in preview
