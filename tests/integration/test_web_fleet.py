"""Connections, the ways to hosts and imports in the console, without script."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest

from tests.console_rig import HOSTILE, Browser, FakeMaster

ADMIN_PAGES = ["/add-connection", "/add-host", "/change-hosts?host=web-01", "/import"]
FORMS = {
    "/add-connection": "connections.add",
    "/connections/salt": "connections.set",
    "/connections/salt/try": "connections.try",
    "/connections/salt/turn": "connections.disable",
    "/connections/salt/remove": "connections.remove",
    "/add-host": "hosts.add",
    "/hosts/web-01": "hosts.set",
    "/hosts/web-01/ways": "hosts.ways",
    "/change-hosts": "hosts.ways",
    "/import": "import.preview",
    "/import/t0/apply": "import.apply",
}


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


@pytest.fixture
def browser(tmp_path: Path, master: FakeMaster) -> Browser:
    browser = Browser(tmp_path, master)
    browser.sign_in()
    return browser


@pytest.fixture
def operator(tmp_path: Path, master: FakeMaster) -> Browser:
    browser = Browser(tmp_path / "olga", master)
    browser.sign_in("olga")
    return browser


def test_every_form_needs_its_token(browser: Browser, master: FakeMaster) -> None:
    for path, op in FORMS.items():
        assert browser.send(path, token="wrong").status_code == 400
        assert master.asked(op) == [], path


@pytest.mark.parametrize("path", ADMIN_PAGES)
def test_who_is_no_admin_gets_no_form(operator: Browser, path: str) -> None:
    assert operator.get(path).status_code == 403
    page = operator.get("/connections").text
    assert "/add-connection" not in page
    assert "/connections/salt" not in page
    assert "/add-host" not in operator.get("/hosts").text
    assert "/ways" not in operator.get("/hosts/web-01").text


def test_a_connection_is_added_and_tried_at_once(browser: Browser, master: FakeMaster) -> None:
    sent = {"kind": "salt", "name": "dc1", "s.url": "https://x", "s.password": "secret", "s.forks": ""}
    answer = browser.send("/add-connection", **sent)
    assert (answer.status_code, answer.location) == (303, "/connections/dc1")
    assert master.asked("connections.add") == [
        {"connection": "dc1", "kind": "salt", "settings": {"url": "https://x", "password": "secret"}}
    ]
    assert master.asked("connections.try") == [{"connection": "dc1"}]


def test_a_wrong_setting_is_said_at_its_field_and_no_secret_comes_back(browser: Browser) -> None:
    sent = {"kind": "salt", "name": "dc1", "s.url": "", "s.password": "a-secret", "s.forks": "7"}
    answer = browser.send("/add-connection", **sent)
    assert answer.status_code == 400
    field = answer.text.split('data-field="url"')[1].split("data-field=")[0]
    assert "This field must be filled in." in field
    assert 'value="7"' in answer.text, "what was typed stays"
    assert "a-secret" not in answer.text
    taken = browser.send("/add-connection", **{**sent, "name": "salt", "s.url": "x"}).text
    assert "There is a connection" in taken.split('data-field="name"')[1].split("data-field=")[0]


def test_the_words_at_a_field_are_chinese_for_who_reads_it(browser: Browser) -> None:
    browser.send("/preferences", lang="zh")
    answer = browser.send("/connections/salt", **{"s.forks": "many", "s.url": "x"})
    field = answer.text.split('data-field="forks"')[1]
    assert "请填写数字" in field or "数字" in field
    assert "It must be" not in answer.text


def test_a_secret_is_kept_when_it_is_left_empty_and_forgotten_when_that_is_ticked(
    browser: Browser, master: FakeMaster
) -> None:
    page = browser.get("/connections/salt").text
    assert "set; leave it empty to keep it" in page
    browser.send("/connections/salt", name="salt", **{"s.url": "x", "s.password": ""})
    assert master.asked("connections.set")[-1]["settings"] == {"url": "x", "password": ""}
    browser.send("/connections/salt", name="salt", forget="password", **{"s.url": "x", "s.password": ""})
    assert master.asked("connections.set")[-1]["settings"] == {"url": "x", "password": None}
    assert master.asked("connections.rename") == []
    assert browser.send("/connections/salt", name="jump").location == "/connections/jump?saved=1"


def test_the_machines_of_a_connection_are_shown_and_changed(browser: Browser, master: FakeMaster) -> None:
    assert 'value="gd-1"' in browser.get("/add-connection?kind=salt").text, "what is usual is filled in"
    assert "sz-1, sz-2" in browser.get("/connections").text
    page = browser.get("/connections/jump").text
    assert "served by sz-1, sz-2" in page
    assert "/connections/jump/try" not in page, "it cannot be tried from here"
    assert "/connections/salt/try" in browser.get("/connections/salt").text
    browser.send("/connections/salt", name="salt", machines=" gd-1,sz-1  x ", **{"s.url": "x"})
    browser.send("/connections/salt", name="salt", machines="", **{"s.url": "x"})
    asked = [each["machines"] for each in master.asked("connections.set")]
    assert asked == [["gd-1", "sz-1", "x"], []]
    browser.send("/add-connection", kind="salt", name="dc1", machines="sz-1", **{"s.url": "x"})
    assert master.asked("connections.add")[-1]["machines"] == ["sz-1"]
    assert master.asked("connections.try") == []


def test_a_machine_that_cannot_be_is_said_at_its_field(browser: Browser) -> None:
    browser.send("/preferences", lang="zh")
    answer = browser.send("/connections/salt", name="salt", machines="深圳", **{"s.url": "x"})
    assert answer.status_code == 400
    field = answer.text.split('data-field="machines"')[1]
    assert 'value="深圳"' in field
    assert "“深圳”不是机器名称" in field


def test_a_try_says_how_it_went(browser: Browser) -> None:
    down = browser.send("/connections/salt/try").text
    assert "It is down." in down
    host = browser.send("/connections/salt/try", host="web-01").text
    assert "It is up; it answered within 0.2 s." in host
    assert "web-01" in host
    assert "failed" in host
    assert HOSTILE not in host + down


def test_a_connection_in_use_is_not_removed_and_the_page_says_why(browser: Browser) -> None:
    answer = browser.send("/connections/salt/remove")
    assert answer.status_code == 400
    assert "2 hosts are reached over salt; take this way from them first." in answer.text


def test_turning_on_and_off(browser: Browser, master: FakeMaster) -> None:
    browser.send("/connections/salt/turn")
    browser.send("/connections/salt/turn", on="1")
    assert len(master.asked("connections.disable")) == len(master.asked("connections.enable")) == 1


def test_a_hosts_ways_stand_in_order_and_are_moved_added_and_removed(
    browser: Browser, master: FakeMaster
) -> None:
    page = browser.get("/hosts/web-01").text
    assert page.index("/connections/salt") < page.index("/connections/jump")
    for fields, change in (
        ({"up": "jump"}, {"move": "jump", "by": -1}),
        ({"down": "salt"}, {"move": "salt", "by": 1}),
        ({"remove": "salt"}, {"remove": "salt"}),
        ({"connection": "jump", "remote_id": "W1"}, {"add": {"connection": "jump", "remote_id": "W1"}}),
    ):
        assert browser.send("/hosts/web-01/ways", **fields).status_code == 303
        assert master.asked("hosts.ways")[-1] == {"hosts": ["web-01"], **change}
    wrong = browser.send("/hosts/web-01/ways", remove="wrong")
    assert wrong.status_code == 400
    assert HOSTILE not in wrong.text


def test_many_hosts_get_a_way_at_once(browser: Browser, master: FakeMaster) -> None:
    page = browser.get("/change-hosts?host=web-01&host=web-02").text
    assert "Add to 2 hosts" in page
    answer = browser.send("/change-hosts", host=["web-01", "web-02"], connection="jump", place="first")
    assert "2 hosts were changed." in answer.text
    change = {"add": {"connection": "jump", "remote_id": ""}, "place": 0}
    assert master.asked("hosts.ways") == [{"hosts": ["web-01", "web-02"], **change}]
    browser.send("/change-hosts", host=["web-01"], set="1", state="maintenance", categ="", app="")
    assert master.asked("hosts.set") == [{"hosts": ["web-01"], "state": "maintenance"}]


def test_a_host_is_added_and_changed(browser: Browser, master: FakeMaster) -> None:
    added = browser.send("/add-host", name="web-09", connection="salt", lip="10.0.0.9", state="new")
    assert added.location == "/hosts/web-09"
    ways = [{"connection": "salt", "remote_id": ""}]
    assert master.asked("hosts.add") == [{"host": "web-09", "ways": ways, "lip": "10.0.0.9", "state": "new"}]
    taken = browser.send("/add-host", name="web-01", lip="10.0.0.9")
    assert taken.status_code == 400
    assert 'value="10.0.0.9"' in taken.text, "what was typed stays"
    wrong = browser.send("/hosts/web-01", name="web-01", lip="wrong")
    assert wrong.status_code == 400
    assert "is not an IP address" in wrong.text


def test_labels_are_shown_given_and_taken_away(browser: Browser, master: FakeMaster) -> None:
    page = browser.get("/hosts/web-01").text
    assert "pair=db-a" in page
    assert 'value="pair=db-a, rack=&lt;r3&gt;"' in page
    before = "pair=db-a, rack=<r3>"
    browser.send("/hosts/web-01", name="web-01", labels_before=before, labels=before)
    browser.send("/hosts/web-01", name="web-01", labels_before=before, labels="rack=r4, row=7")
    assert [asked.get("labels") for asked in master.asked("hosts.set")] == [None, "rack=r4, row=7, pair="]
    browser.send("/change-hosts", host=["web-01", "web-02"], set="1", labels="pair=web")
    assert master.asked("hosts.set")[-1] == {"hosts": ["web-01", "web-02"], "labels": "pair=web"}


def test_an_import_is_previewed_filtered_and_applied(browser: Browser, master: FakeMaster) -> None:
    file = (io.BytesIO("name\n主机".encode("gbk")), "hosts.csv")
    sent = browser.send("/import", source="csv:", file=file, categ="Linux.Web", connection="salt")
    assert (sent.status_code, sent.location) == (303, "/import/t0")
    (asked,) = master.asked("import.preview")
    assert base64.b64decode(asked["csv"]) == "name\n主机".encode("gbk"), "the master reads the bytes"
    assert (asked["title"], asked["categ"], asked["connection"]) == ("hosts.csv", "Linux.Web", "salt")
    page = browser.get("/import/t0").text
    assert "Import 2 hosts" in page
    assert HOSTILE not in page
    browser.get("/import/t0?status=conflict&q=web&offset=200")
    wanted = {"token": "t0", "status": "conflict", "search": "web", "limit": 200, "offset": 200}
    assert master.asked("import.rows")[-1] == wanted
    done = browser.send("/import/t0/apply", digest="d0")
    assert "1 added, 1 changed." in done.text
    assert master.asked("import.apply") == [{"token": "t0", "digest": "d0"}]


def test_a_text_that_was_pasted_counts_whatever_source_is_chosen(
    browser: Browser, master: FakeMaster
) -> None:
    browser.send("/import", source="salt", text="name\nweb-07")
    (asked,) = master.asked("import.preview")
    assert base64.b64decode(asked["csv"]) == b"name\nweb-07"
    assert "source" not in asked


def test_a_preview_that_is_out_of_date_is_not_applied_but_shown_anew(browser: Browser) -> None:
    answer = browser.send("/import/t1/apply", digest="d0")
    assert (answer.status_code, answer.location) == (303, "/import/t0?outdated=1")
    assert "has changed meanwhile" in browser.get(answer.location).text
    assert browser.get("/import/gone").status_code == 404


def test_an_engine_that_cannot_be_asked_is_said_beside_the_form(browser: Browser) -> None:
    answer = browser.send("/import", source="salt")
    assert answer.status_code == 503
    assert "The Salt master is not running." in answer.text
    assert 'name="source"' in answer.text
