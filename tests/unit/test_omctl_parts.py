"""The parts of omctl that need no master: exit codes, text of hosts, parameters, profile."""

from __future__ import annotations

import stat
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omserver_client.errors import NotReached
from omserver_client.omctl import ends, follow
from omserver_client.omctl.profile import BadProfile, Profile, load_profile, save_profile
from omserver_client.omctl.saved import SavedLogin, forget_login, load_login, save_login
from omserver_client.omctl.visible import visible, visible_bytes, visible_line

CODES = {
    "ok": 0, "skipped": 0, "failed": 1, "unreachable": 3,
    "timed_out": 4, "unknown": 5, "cancelled": 6, "not_started": 6,
}  # fmt: skip
ORDER = [5, 1, 4, 3, 6]


def job(state: str, **counts: int) -> dict[str, Any]:
    return {"state": state, "counts": counts, "event": 9, "id": 1, "reason": ""}


@pytest.mark.parametrize(("state", "code"), list(CODES.items()))
def test_one_host_decides_the_exit_code(state: str, code: int) -> None:
    end = "succeeded" if code == 0 else "cancelled" if state == "cancelled" else "failed"
    assert ends.exit_code(job(end, **{state: 1})) == code


@pytest.mark.parametrize("pair", list(combinations(CODES, 2)))
def test_of_several_ends_the_worst_is_the_exit_code(pair: tuple[str, str]) -> None:
    codes = {CODES[state] for state in pair} - {0}
    wanted = next((code for code in ORDER if code in codes), 0)
    assert ends.exit_code(job("succeeded" if wanted == 0 else "failed", **dict.fromkeys(pair, 1))) == wanted


@pytest.mark.parametrize("state", ["cancelled", "expired", "interrupted"])
def test_a_job_that_was_cut_off_ends_with_6_even_if_all_that_ran_was_ok(state: str) -> None:
    assert ends.exit_code(job(state, ok=2)) == 6


def test_a_failed_job_never_ends_with_0() -> None:
    assert ends.exit_code(job("failed", ok=2)) == 1


def test_a_state_that_this_version_does_not_know_counts_as_unknown() -> None:
    assert ends.exit_code(job("succeeded", teleported=1)) == 5


def test_escape_sequences_of_hosts_are_shown_and_not_obeyed() -> None:
    assert visible("\x1b[31mred\x07\x9b1m\r\n") == "\\x1b[31mred\\x07\\x9b1m\\r\n"


def test_marks_that_turn_text_around_are_shown() -> None:
    assert visible("a\u202eb\u200bc") == "a\\u202eb\\u200bc"


def test_chinese_is_left_alone() -> None:
    assert visible_line("运行状态 成功") == "运行状态 成功"


def test_bytes_that_are_not_utf8_are_written_out() -> None:
    assert visible_bytes(b"caf\xe9 \xff\x1b") == "caf\\xe9 \\xff\\x1b"


@given(st.text())
def test_a_visible_line_is_one_line_without_control_characters(text: str) -> None:
    line = visible_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RPYC_HOST", "RPYC_PORT", "KEY_FILE", "CA_FILE"):
        monkeypatch.delenv(f"OMSERVER_{name}", raising=False)
    monkeypatch.setenv("OMSERVER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_without_any_setting_the_master_is_on_this_machine(home: Path) -> None:
    assert load_profile() == Profile("127.0.0.1", 11511, str(home / "keys" / "omctl.key"))


def test_what_was_enrolled_is_used_and_the_environment_goes_before_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_profile(Profile("master.example", 2000, "/keys/k", "/ca.pem"))
    assert load_profile() == Profile("master.example", 2000, "/keys/k", "/ca.pem")
    monkeypatch.setenv("OMSERVER_RPYC_PORT", "3000")
    assert load_profile() == Profile("master.example", 3000, "/keys/k", "/ca.pem")


@pytest.mark.parametrize("content", ["[]", "{", '{"port": 0}', '{"port": "x"}', '{"colour": "red"}'])
def test_a_spoiled_profile_is_named_and_refused(home: Path, content: str) -> None:
    home.mkdir()
    (home / "client.json").write_text(content)
    with pytest.raises(BadProfile):
        load_profile()


def test_a_login_is_kept_for_its_owner_alone_and_for_its_master_alone(home: Path) -> None:
    save_login(SavedLogin("admin", "127.0.0.1:11511", "token"))
    file = home / "omctl-session.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert load_login("127.0.0.1:11511") == SavedLogin("admin", "127.0.0.1:11511", "token")
    assert load_login("other:11511") is None
    forget_login()
    assert load_login("127.0.0.1:11511") is None


def test_a_session_token_is_in_no_text_of_a_login() -> None:
    assert "token" not in repr(SavedLogin("admin", "127.0.0.1:11511", "token"))


class FakeEvents:
    """A fake master: answers ``events`` from a list; an exception in it is raised instead."""

    def __init__(self, *news: dict[str, Any] | Exception) -> None:
        self.news = list(news)
        self.asked: list[int] = []

    def events(self, job: int, since: int = 0, wait: float = 0) -> dict[str, Any]:
        self.asked.append(since)
        answer = self.news.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def news(state: str, event: int, *hosts: str) -> dict[str, Any]:
    return {
        "job": {"state": state, "event": 3},
        "event": event,
        "results": [{"host": host} for host in hosts],
    }


def test_following_asks_for_what_is_newer_until_the_end_and_sees_every_host_once() -> None:
    master = FakeEvents(
        news("running", 1, "web-01"), news("succeeded", 2, "web-02"), news("succeeded", 3, "web-03")
    )
    seen: list[str] = []
    follow.follow(master, 1, lambda result: seen.append(result["host"]), lambda job: None)
    assert seen == ["web-01", "web-02", "web-03"]
    assert master.asked == [0, 1, 2]


def test_following_survives_a_master_that_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow.time, "sleep", lambda seconds: None)
    master = FakeEvents(NotReached(), NotReached(), news("succeeded", 3))
    assert follow.follow(master, 1, print, print)["state"] == "succeeded"


def test_following_gives_up_when_the_master_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "PATIENCE", -1.0)
    with pytest.raises(NotReached):
        follow.follow(FakeEvents(NotReached()), 1, print, print)
