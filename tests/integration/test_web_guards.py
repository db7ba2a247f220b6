"""Nobody comes in, nothing changes, and nothing is led away, except as a page of ours says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from omserver_client.errors import Forbidden, TooMany
from omserver_web.guard import OPEN, local_path
from omserver_web.settings import BadSetting, from_environment, read_secret
from tests.console_rig import Browser, FakeMaster

#: What stands for the variable parts of a rule.
PARTS = {
    "job": 7,
    "host": 1,
    "stream": "stdout",
    "id": "1001",
    "name": "web-01",
    "filename": "css/base.css",
    "token": "t0",
}


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


@pytest.fixture
def browser(tmp_path: Path, master: FakeMaster) -> Browser:
    return Browser(tmp_path, master)


def part(endpoint: str, name: str) -> Any:
    """What stands for *name* in the address of an endpoint."""
    return "salt" if (endpoint.partition(".")[0], name) == ("connections", "name") else PARTS[name]


def rules(browser: Browser, method: str) -> list[tuple[str, str]]:
    """Every (endpoint, address) that takes *method*."""
    adapter = browser.app.url_map.bind("localhost")
    return [
        (
            rule.endpoint,
            adapter.build(
                rule.endpoint, {name: part(rule.endpoint, name) for name in rule.arguments}, method=method
            ),
        )
        for rule in browser.app.url_map.iter_rules()
        if method in (rule.methods or ())
    ]


def changes(master: FakeMaster) -> list[str]:
    return [
        op for op, *_ in master.calls if op in ("job.submit", "job.cancel", "auth.password", "auth.logout")
    ]


def test_every_page_but_the_open_ones_asks_for_a_session_first(browser: Browser, master: FakeMaster) -> None:
    for endpoint, path in rules(browser, "GET"):
        if endpoint in OPEN:
            continue
        answer = browser.get(path)
        assert answer.status_code == 303, path
        assert answer.location.startswith("/sign-in?next="), path
    assert master.calls == []


def test_what_does_not_exist_asks_for_a_session_too(browser: Browser) -> None:
    assert browser.get("/no-such-page").location.startswith("/sign-in")


def test_every_page_opens_for_an_admin(browser: Browser) -> None:
    browser.sign_in()
    for _endpoint, path in rules(browser, "GET"):
        answer = browser.get(path)
        assert answer.status_code in (200, 302), path
        answer.close()


def test_no_form_is_taken_without_its_token(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    forms = rules(browser, "POST")
    assert len(forms) >= 7
    for _endpoint, path in forms:
        assert browser.client.post(path, data={"key": "k"}).status_code == 400, path
    assert changes(master) == []


def test_no_form_is_taken_with_a_wrong_token(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    for _endpoint, path in rules(browser, "POST"):
        assert browser.send(path, token="made.up.token").status_code == 400, path
    assert changes(master) == []


def test_no_form_is_taken_with_the_token_of_another_session(
    browser: Browser, master: FakeMaster, tmp_path: Path
) -> None:
    other = Browser(tmp_path, master)
    other.sign_in("olga")
    browser.sign_in()
    for _endpoint, path in rules(browser, "POST"):
        assert browser.send(path, token=other.token()).status_code == 400, path
    assert changes(master) == []


def test_a_token_from_before_signing_in_is_no_good_afterwards(browser: Browser, master: FakeMaster) -> None:
    before = browser.token("/sign-in")
    browser.sign_in()
    assert browser.send("/sign-out", token=before).status_code == 400
    assert changes(master) == []


def test_nothing_changes_by_a_link(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    for _endpoint, path in rules(browser, "POST"):
        browser.get(path)
    for _endpoint, path in rules(browser, "GET"):
        browser.get(path).close()
    assert changes(master) == []
    assert browser.get("/sign-out").status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_form_of_another_site_is_taken(
    browser: Browser, master: FakeMaster, headers: dict[str, str]
) -> None:
    browser.sign_in()
    form = {"csrf_token": browser.token()}
    for _endpoint, path in rules(browser, "POST"):
        assert browser.client.post(path, data=form, headers=headers).status_code == 403, path
    assert changes(master) == []


def test_signing_in_from_another_site_is_refused(browser: Browser, master: FakeMaster) -> None:
    form = {"user": "admin", "password": "right"}
    assert browser.client.post("/sign-in", data=form).status_code == 400
    assert master.asked("auth.login") == []


def test_the_cookie_holds_the_token_of_the_master_and_nothing_else(
    browser: Browser, master: FakeMaster
) -> None:
    browser.sign_in()
    assert browser.cookie("omserver") in master.sessions
    assert browser.cookie("session") is None


def test_a_sign_in_brings_a_new_session_and_ends_the_old_one(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    first = browser.cookie("omserver")
    browser.send("/sign-in", token=browser.token(), user="admin", password="right")
    assert browser.cookie("omserver") != first
    assert first not in master.sessions


def test_signing_out_ends_the_session_at_the_master(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    browser.send("/sign-out")
    assert master.sessions == {}
    assert browser.cookie("omserver") is None


def test_a_wrong_password_says_so_and_keeps_the_name(browser: Browser) -> None:
    answer = browser.sign_in(password="wrong")
    assert answer.status_code == 401
    assert "The name or the password is not right." in answer.text
    assert 'value="admin"' in answer.text
    assert browser.cookie("omserver") is None


def test_too_many_tries_say_how_long_to_wait(browser: Browser, master: FakeMaster) -> None:
    def refuse(op: str) -> None:
        raise TooMany(retry_after=41.7)

    master.before = refuse
    answer = browser.sign_in()
    assert answer.status_code == 429
    assert "Try again in 42 s." in answer.text


def test_what_the_master_forbids_is_said_on_a_page(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in("olga")

    def refuse(op: str) -> None:
        if op == "audit.list":
            raise Forbidden("This needs the role admin.")

    master.before = refuse
    answer = browser.get("/audit")
    assert answer.status_code == 403
    assert "You may not do that." in answer.text


def test_cookies_are_out_of_reach_of_script_and_of_other_sites(browser: Browser) -> None:
    for line in browser.sign_in().headers.getlist("Set-Cookie"):
        assert "HttpOnly" in line
        assert "SameSite=Lax" in line
        assert "Path=/" in line


def test_over_https_cookies_are_bound_to_the_host(tmp_path: Path, master: FakeMaster) -> None:
    browser = Browser(tmp_path, master, OMSERVER_WEB_HTTPS="1")
    answer = browser.get("/sign-in", base_url="https://localhost")
    lines = answer.headers.getlist("Set-Cookie")
    assert lines
    assert all(line.startswith("__Host-") and "Secure" in line for line in lines)
    assert "Strict-Transport-Security" in answer.headers


def test_an_expired_session_leads_back_to_the_page(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    master.sessions.clear()
    answer = browser.get("/jobs?state=failed")
    assert answer.location == "/sign-in?next=%2Fjobs%3Fstate%3Dfailed&expired=1"
    assert "Your session is over." in browser.get(answer.location).text
    assert browser.sign_in(following="/jobs?state=failed").location == "/jobs?state=failed"


def test_a_part_of_a_page_is_told_where_to_sign_in(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    master.sessions.clear()
    answer = browser.get("/search?q=x", headers={"HX-Request": "true", "Referer": "http://localhost/jobs"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/sign-in?next=%2Fjobs&expired=1"


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil",
        "/a\r\nSet-Cookie: x=1",
        " /jobs",
        "",
        None,
    ],
)
def test_nobody_is_led_away(browser: Browser, target: str | None) -> None:
    assert local_path(target) == "/"
    assert browser.sign_in(following=target or "").location == "/"


@pytest.mark.parametrize("target", ["/jobs", "/jobs/7?state=ok#host-1", "/run?host=a&host=b"])
def test_a_page_of_ours_is_reached_after_signing_in(browser: Browser, target: str) -> None:
    assert browser.sign_in(following=target).location == target


@pytest.mark.parametrize("path", ["/sign-in", "/run", "/jobs/7", "/no-such-page", "/jobs/7/events"])
def test_every_answer_forbids_what_our_pages_never_do(browser: Browser, path: str) -> None:
    browser.sign_in()
    answer = browser.get(path)
    policy = answer.headers["Content-Security-Policy"]
    answer.close()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_foreign_host_name_is_refused(browser: Browser) -> None:
    assert browser.get("/sign-in", headers={"Host": "evil.example"}).status_code == 400
    assert browser.get("/sign-in", headers={"Host": "localhost:8511"}).status_code == 200


def test_a_name_of_the_site_is_taken_when_it_is_set(tmp_path: Path, master: FakeMaster) -> None:
    browser = Browser(tmp_path, master, OMSERVER_WEB_NAMES="om.example.org")
    assert browser.get("/sign-in", headers={"Host": "om.example.org"}).status_code == 200


def test_a_form_that_is_too_long_is_refused(browser: Browser) -> None:
    browser.sign_in()
    answer = browser.client.post("/run/check", data={"csrf_token": browser.token(), "paste": "x" * 5_000_000})
    assert answer.status_code == 413


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "om.example.org"])
def test_passwords_never_travel_in_clear(host: str) -> None:
    with pytest.raises(BadSetting, match="in clear"):
        from_environment({"OMSERVER_WEB_HOST": host})
    assert from_environment({"OMSERVER_WEB_HOST": host, "OMSERVER_WEB_HTTPS": "1"})["HTTPS"] is True


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "٣"])
def test_a_port_that_is_none_is_named(port: str) -> None:
    with pytest.raises(BadSetting, match="OMSERVER_RPYC_PORT"):
        from_environment({"OMSERVER_RPYC_PORT": port})


def test_the_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    secret = read_secret(home)
    assert read_secret(home) == secret
    assert len(secret) >= 32
    assert (home / "web.secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == ["web.secret"]
    assert read_secret(tmp_path / "other") != secret


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    read_secret(tmp_path)
    (tmp_path / "web.secret").chmod(0o644)
    with pytest.raises(BadSetting, match="read by others"):
        read_secret(tmp_path)


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.secret"
    path.touch(0o600)
    path.write_text("secret\n")
    with pytest.raises(BadSetting, match="too short"):
        read_secret(tmp_path)


def test_a_viewer_of_pages_never_sees_an_admins_links(tmp_path: Path, master: FakeMaster) -> None:
    browser = Browser(tmp_path, master)
    browser.sign_in("olga")
    assert "/audit" not in browser.get("/jobs").text


def test_every_request_carries_the_session_of_the_person(browser: Browser, master: FakeMaster) -> None:
    browser.sign_in()
    mine = browser.cookie("omserver")
    master.calls.clear()
    arguments: list[Any] = rules(browser, "GET")
    for _endpoint, path in arguments:
        browser.get(path).close()
    assert {session for _op, _args, session, _key in master.calls} == {mine}


def test_no_template_has_script_style_or_handlers_inside() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)
    folder = Path(__file__).parents[2] / "omserver_web" / "templates"
    found = {path.name: inline.findall(path.read_text()) for path in folder.rglob("*.html")}
    assert {name: hits for name, hits in found.items() if hits} == {}
