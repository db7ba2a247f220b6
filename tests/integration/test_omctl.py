"""omctl against a fake master behind the real wire."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from omserver_client.errors import Forbidden, SessionExpired
from omserver_client.keyfile import new_key, write_key
from omserver_client.messages import Request
from omserver_client.omctl.app import run
from tests.integration.fake_master import PASSWORD, FakeMaster, job, result, serving


class Ended(NamedTuple):
    """How one run of omctl ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.out)
        return found


Omctl = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RPYC_HOST", "KEY_FILE", "CA_FILE"):
        monkeypatch.delenv(f"OMSERVER_{name}", raising=False)
    monkeypatch.setenv("OMSERVER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def master(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMaster]:
    fake = FakeMaster()
    with serving(fake, home) as port:
        monkeypatch.setenv("OMSERVER_RPYC_PORT", str(port))
        yield fake


@pytest.fixture
def omctl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Omctl:
    def call(*words: str, stdin: str = "") -> Ended:
        read, write = os.pipe()
        os.write(write, stdin.encode())
        os.close(write)
        with open(read) as source:
            monkeypatch.setattr(sys, "stdin", source)
            code = run(words)
        return Ended(code, *capfd.readouterr())

    return call


@pytest.fixture
def logged_in(master: FakeMaster, omctl: Omctl) -> FakeMaster:
    assert omctl("login", "li", "--password-stdin", stdin=f"{PASSWORD}\n").code == 0
    return master


RUN = ("run", "1001", "--host", "web-01", "--host", "web-02", "-p", "lines=20")


def test_login_keeps_a_session_that_only_its_owner_can_read(
    master: FakeMaster, home: Path, omctl: Omctl
) -> None:
    ended = omctl("login", "li", "--password-stdin", "--json", stdin=f"{PASSWORD}\n")
    assert ended.code == 0
    assert ended.document == {"user": "li", "role": "admin", "expires_at": 2e9}
    kept = home / "omctl-session.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert PASSWORD not in kept.read_text()
    assert omctl("whoami").out.startswith("li (admin), with the key omctl")


def test_a_wrong_password_is_one_line_and_exit_2_and_keeps_no_session(
    master: FakeMaster, home: Path, omctl: Omctl
) -> None:
    ended = omctl("login", "li", "--password-stdin", stdin="wrong\n")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "omctl: The user name or the password is wrong.\n"
    assert not (home / "omctl-session.json").exists()


def test_a_password_is_asked_for_on_the_terminal_and_not_shown(master: FakeMaster) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "omserver_client.omctl", "login", "li"])
    said = _read_until(terminal, b"Password:")
    os.write(terminal, f"{PASSWORD}\n".encode())
    said += _read_until(terminal, b"Logged in as li")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert PASSWORD.encode() not in said
    os.close(terminal)


def _read_until(terminal: int, wanted: bytes) -> bytes:
    said = b""
    while wanted not in said:
        said += os.read(terminal, 1000)
    return said


def test_without_a_terminal_nobody_is_asked(master: FakeMaster, omctl: Omctl) -> None:
    assert omctl("login", "li").code == 2
    assert omctl("login").code == 2
    assert master.requests == []


def test_a_password_is_never_an_argument(master: FakeMaster, omctl: Omctl) -> None:
    assert omctl("login", "li", PASSWORD).code == 2
    assert omctl("login", "li", "--password", PASSWORD).code == 2


def test_after_logging_out_the_session_is_gone_here_and_there(
    logged_in: FakeMaster, home: Path, omctl: Omctl
) -> None:
    assert omctl("logout").code == 0
    assert logged_in.sent("auth.logout").session == "token"
    assert not (home / "omctl-session.json").exists()
    ended = omctl("hosts")
    assert ended.code == 2
    assert "omctl login" in ended.err


def test_a_session_is_not_shown_to_another_master(
    logged_in: FakeMaster, omctl: Omctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMSERVER_RPYC_HOST", "localhost")
    assert omctl("whoami").code == 2
    assert logged_in.requests[-1].session is None


def test_an_expired_session_says_what_to_do(logged_in: FakeMaster, omctl: Omctl) -> None:
    def expire(request: Request) -> None:
        raise SessionExpired

    logged_in.on_request = expire
    ended = omctl("jobs")
    assert (ended.code, ended.err) == (
        2,
        "omctl: The session is over; log in again. Log in again: omctl login\n",
    )


def test_modules_show_their_parameters_and_a_broken_one_its_line(logged_in: FakeMaster, omctl: Omctl) -> None:
    listed = omctl("modules")
    assert "lines=50" in listed.out
    assert "line 3: invalid syntax" in listed.out
    assert "1 to 1000" in omctl("modules", "1001").out
    assert [module["id"] for module in omctl("modules", "--json").document["modules"]] == ["1001", "2001"]  # type: ignore[attr-defined, index, misc]


def test_hosts_are_filtered_by_the_names_of_categories(logged_in: FakeMaster, omctl: Omctl) -> None:
    assert "web-01" in omctl("hosts", "--category", "linux.web", "--app", "www", "--search", "web").out
    assert logged_in.sent("hosts.list").args == {
        "categ_id": 1,
        "app_id": 5,
        "search": "web",
        "limit": 500,
        "offset": 0,
    }
    ended = omctl("hosts", "--category", "nothing")
    assert ended.code == 2
    assert "Linux.Web" in ended.err


def test_run_shows_each_host_and_ends_with_0(logged_in: FakeMaster, omctl: Omctl) -> None:
    ended = omctl(*RUN)
    assert ended.code == 0
    assert [line.split()[:2] for line in ended.out.splitlines()[:2]] == [["ok", "web-01"], ["ok", "web-02"]]
    assert "Job 7 succeeded, 2 ok" in ended.out
    sent = logged_in.sent("job.submit")
    assert sent.args["hosts"] == ["web-01", "web-02"]
    assert sent.args["params"] == {"lines": "20"}
    assert sent.key, "a run must carry an idempotency key"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["ok", "skipped"], 0),
        (["ok", "failed"], 1),
        (["ok", "unreachable"], 3),
        (["unreachable", "timed_out"], 4),
        (["failed", "unknown"], 5),
        (["ok", "not_started"], 6),
    ],
)
def test_the_exit_code_says_how_the_hosts_ended(
    logged_in: FakeMaster, omctl: Omctl, states: list[str], code: int
) -> None:
    logged_in.results = [result(number, state) for number, state in enumerate(states, 1)]
    logged_in.job = job("failed" if code else "succeeded", **dict.fromkeys(states, 1))
    assert omctl(*RUN).code == code
    assert omctl("job", "show", "7", "--follow", "--json").code == code


def test_run_as_json_is_one_document_with_all_results(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.output = b"\x1b[31mcaf\xe9 \xc2\x9b\n"
    ended = omctl(*RUN, "--json", "--output")
    assert ended.out.isascii()
    document = ended.document
    assert document["job"]["state"] == "succeeded"  # type: ignore[index]
    assert [row["host"] for row in document["results"]] == ["web-01", "web-02"]  # type: ignore[attr-defined]
    assert document["results"][0]["stdout"] == "\x1b[31mcaf\\xe9 \x9b\n"  # type: ignore[index]


def test_what_a_host_prints_cannot_act_on_the_terminal(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.output = b"\x1b]0;owned\x07 \xff [bold]plain[/bold]\n"
    logged_in.results = [
        result(1, "ok", first_line="\x1b[2Jcleared\n2nd"),
        result(2, "failed", reason="\x9b1m"),
    ]
    ended = omctl(*RUN, "--output")
    assert not any(character in ended.out for character in "\x1b\x07\x9b")
    assert "\\x1b]0;owned\\x07 \\xff [bold]plain[/bold]" in ended.out
    assert "\\x1b[2Jcleared\\n2nd" in ended.out


def test_what_a_table_holds_cannot_act_on_the_terminal(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.host = logged_in.host | {"os": "Debian\x1b[2J\n12"}
    assert "Debian\\x1b[2J\\n12" in omctl("hosts").out


def test_raw_output_is_what_the_host_printed(logged_in: FakeMaster) -> None:
    logged_in.output = b"\x1b[31m\xff\n"
    words = ["job", "show", "7", "--output", "--raw"]
    ended = subprocess.run(
        [sys.executable, "-m", "omserver_client.omctl", *words], capture_output=True, timeout=30, check=True
    )
    assert b"\n\x1b[31m\xff\n" in ended.stdout


def test_an_unknown_host_refuses_the_run_before_anything_is_submitted(
    logged_in: FakeMaster, omctl: Omctl
) -> None:
    ended = omctl("run", "1001", "--host", "nowhere", "--json")
    assert ended.code == 2
    assert ended.document["error"] == {
        "code": "unknown_host",
        "text": "There is no host nowhere.",
        "details": {"hosts": ["nowhere"]},
    }
    assert ended.err == "omctl: There is no host nowhere. omctl hosts lists them.\n"
    assert "job.submit" not in [request.op for request in logged_in.requests]


def test_a_run_that_needs_a_confirmation_is_not_started_without_one(
    logged_in: FakeMaster, omctl: Omctl
) -> None:
    logged_in.confirm = 2
    ended = omctl(*RUN, stdin="2\n")
    assert ended.code == 2
    assert "--confirm 2" in ended.err
    assert "job.submit" not in [request.op for request in logged_in.requests]


@pytest.mark.parametrize("words", [["--yes"], ["--confirm", "2"]])
def test_a_confirmed_run_says_how_many_hosts_were_confirmed(
    logged_in: FakeMaster, omctl: Omctl, words: list[str]
) -> None:
    logged_in.confirm = 2
    assert omctl(*RUN, *words).code == 0
    assert logged_in.sent("job.submit").args["confirm"] == 2


def test_the_number_typed_must_be_the_number_of_hosts(logged_in: FakeMaster) -> None:
    logged_in.confirm = 2
    for typed, code in (("3", 2), ("2", 0)):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, "-m", "omserver_client.omctl", *RUN])
        _read_until(terminal, b"Type 2")
        os.write(terminal, f"{typed}\n".encode())
        _read_until(terminal, b"Not confirmed" if code else b"2 ok")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
        os.close(terminal)


def test_warnings_are_said_beside_the_output(logged_in: FakeMaster, omctl: Omctl) -> None:
    logged_in.warnings = [{"code": "silent", "text": "web-01 was last seen\x1b 2 h ago", "host": "web-01"}]
    ended = omctl(*RUN, "--json")
    assert "last seen\\x1b 2 h ago" in ended.err
    assert ended.document["job"]


def test_no_wait_ends_when_the_job_is_taken(logged_in: FakeMaster, omctl: Omctl) -> None:
    ended = omctl(*RUN, "--no-wait")
    assert ended.code == 0
    assert "Job 7 queued" in ended.out
    assert "job.events" not in [request.op for request in logged_in.requests]


def test_ctrl_c_leaves_the_job_running_and_says_how_to_follow_it(logged_in: FakeMaster) -> None:
    logged_in.job = job("running", ok=1, pending=1)
    logged_in.results = [result(1, "ok")]
    logged_in.on_request = lambda request: time.sleep(0.05 if request.op == "job.events" else 0)
    with subprocess.Popen(
        [sys.executable, "-m", "omserver_client.omctl", *RUN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as watching:
        assert watching.stdout is not None
        assert "web-01" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert said == "omctl: the job goes on. Follow it: omctl job show 7 --follow\n"
    assert "job.cancel" not in [request.op for request in logged_in.requests]


def test_a_master_that_is_down_is_exit_7(home: Path, omctl: Omctl, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "keys").mkdir(parents=True)
    write_key(home / "keys" / "omctl.key", new_key("omctl"))
    monkeypatch.setenv("OMSERVER_RPYC_PORT", "1")
    ended = omctl("status", "--json")
    assert ended.code == 7
    assert len(ended.err.splitlines()) == 1
    assert "127.0.0.1:1" in ended.err
    assert ended.document["error"]["code"] == "not_reached"  # type: ignore[index]


def test_a_key_that_the_master_does_not_know_is_refused(master: FakeMaster, omctl: Omctl) -> None:
    master.key = new_key("another")
    ended = omctl("status")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1


def test_without_a_key_the_missing_file_is_named(home: Path, omctl: Omctl) -> None:
    ended = omctl("status")
    assert ended.code == 2
    assert str(home / "keys" / "omctl.key") in ended.err


def test_a_refusal_is_one_line_whatever_is_in_it(logged_in: FakeMaster, omctl: Omctl) -> None:
    def refuse(request: Request) -> None:
        raise Forbidden("li may not\n\x1b[31mdo that.")

    logged_in.on_request = refuse
    assert omctl("status").err == "omctl: li may not\\n\\x1b[31mdo that.\n"


def test_jobs_and_a_job_are_shown(logged_in: FakeMaster, omctl: Omctl) -> None:
    assert "2 ok" in omctl("jobs", "--state", "succeeded", "--host", "web-01").out
    assert logged_in.sent("job.list").args == {"limit": 20, "state": "succeeded", "host": "web-01"}
    shown = omctl("job", "show", "7")
    assert "web-02" in shown.out
    assert shown.code == 0
    assert omctl("job", "show", "7", "--json").document["results"][1]["host"] == "web-02"  # type: ignore[index]
    assert "cancelling" in omctl("job", "cancel", "7").out
    assert omctl("job", "show", "8").code == 2


def test_status_shows_what_is_down_and_why(logged_in: FakeMaster, omctl: Omctl) -> None:
    ended = omctl("status")
    assert ended.code == 0
    assert "down" in ended.out
    assert "no answer" in ended.out


def test_enrolling_keeps_the_key_and_the_address_for_the_owner_alone(
    master: FakeMaster, home: Path, tmp_path: Path, omctl: Omctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = os.environ["OMSERVER_RPYC_PORT"]
    monkeypatch.delenv("OMSERVER_RPYC_PORT")
    monkeypatch.setenv("OMSERVER_HOME", str(tmp_path / "far"))
    key = str(home / "keys" / "omctl.key")
    assert omctl("enroll", "--host", "127.0.0.1", "--port", port, "--key", key).code == 0
    for name in ("client.json", "keys/omctl.key"):
        assert stat.S_IMODE((tmp_path / "far" / name).stat().st_mode) == 0o600
    assert omctl("login", "li", "--password-stdin", stdin=f"{PASSWORD}\n").code == 0


def test_another_machine_is_not_talked_to_in_clear(master: FakeMaster, omctl: Omctl, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("OMSERVER_RPYC_HOST", "192.0.2.1")
    ended = omctl("status")
    assert ended.code in (2, 7)
    assert "TLS" in ended.err


@pytest.mark.parametrize(
    "words", [["nonsense"], ["run"], ["run", "1001"], ["job", "show"], ["jobs", "--limit", "x"]]
)
def test_wrong_usage_is_one_line_and_exit_2(words: list[str], omctl: Omctl) -> None:
    ended = omctl(*words)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert "--help" in ended.err


def test_a_reader_that_goes_away_is_not_taken_for_a_failed_host(logged_in: FakeMaster) -> None:
    logged_in.host = logged_in.host | {"os": "x" * 200_000}
    command = f"'{sys.executable}' -m omserver_client.omctl hosts --json | head -c 1"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, timeout=30, check=False
    )
    assert ended.stderr == b""
    assert ended.returncode == 130


def test_without_click_the_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(\"No module named 'click'\", name='click')")
    ended = subprocess.run(
        [sys.executable, "-m", "omserver_client.omctl", "status"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == "omctl needs two more packages. Run: pip install 'omserver[cli]'\n"
