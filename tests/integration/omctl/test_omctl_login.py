"""omctl: logging in and out, and whom a session is shown to."""

from __future__ import annotations

import os
import pty
import stat
import sys
from pathlib import Path

import pytest

from omserver_client.errors import SessionExpired
from omserver_client.messages import Request
from omserver_master.wire.certificates import make_authority
from tests.integration.fake_master import PASSWORD, FakeMaster
from tests.integration.omctl.terminal import Omctl, read_until


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
    said = read_until(terminal, b"Password:")
    os.write(terminal, f"{PASSWORD}\n".encode())
    said += read_until(terminal, b"Logged in as li")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert PASSWORD.encode() not in said
    os.close(terminal)


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
    for name in ("", "keys"):
        assert stat.S_IMODE((tmp_path / "far" / name).stat().st_mode) == 0o700
    assert omctl("login", "li", "--password-stdin", stdin=f"{PASSWORD}\n").code == 0


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff\xfe"])
def test_enrolling_with_a_file_that_is_no_authority_is_one_line_and_keeps_nothing(
    master: FakeMaster, home: Path, tmp_path: Path, omctl: Omctl, content: bytes
) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    before = sorted(home.rglob("*"))
    key = str(home / "keys" / "omctl.key")
    ended = omctl("enroll", "--host", "master", "--key", key, "--ca", str(tmp_path / "ca.pem"))
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert "cannot be used" in ended.err
    assert sorted(home.rglob("*")) == before


def test_enrolling_with_an_authority_keeps_it(
    master: FakeMaster, home: Path, tmp_path: Path, omctl: Omctl
) -> None:
    authority = make_authority(tmp_path / "tls")
    key = str(home / "keys" / "omctl.key")
    assert omctl("enroll", "--host", "master", "--key", key, "--ca", str(authority)).code == 0
    assert (home / "ca.pem").read_bytes() == authority.read_bytes()
