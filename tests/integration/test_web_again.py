"""The buttons of a job, running it again, and the roll-out fields of the Run page; all without script."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.console_rig import HOSTS, MODULES, Browser, FakeMaster, result


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


@pytest.fixture
def browser(tmp_path: Path, master: FakeMaster) -> Browser:
    browser = Browser(tmp_path, master)
    browser.sign_in()
    return browser


AGAIN: dict[str, Any] = {
    "off": 1,
    "of": 2,
    "tries": [8],
    "at_work": None,
    "next": 1_700_000_060.0,
    "until": 1_700_003_600.0,
    "over": False,
}


@pytest.mark.parametrize(
    ("more", "shown", "absent"),
    [
        ({"state": "running"}, ["pause", "cancel", "pin"], ["resume", "again-menu", "stop-trying"]),
        ({"state": "paused", "pause_asked": True}, ["resume", "cancel"], ["pause", "again-menu"]),
        ({"state": "paused", "pause_asked": False}, ["pause"], ["resume"]),
        ({"state": "running", "pause_asked": True}, ["resume"], ["pause"]),
        ({"state": "cancelling"}, ["pin"], ["pause", "resume", "cancel"]),
        ({"state": "failed"}, ["again-menu", "pin"], ["pause", "resume", "cancel", "stop-trying"]),
        ({"state": "failed", "again": AGAIN}, ["stop-trying"], ["pause"]),
        ({"state": "failed", "again": AGAIN | {"over": True}}, ["again-menu"], ["stop-trying"]),
    ],
)
def test_a_job_has_the_buttons_that_apply(
    browser: Browser, master: FakeMaster, more: dict[str, Any], shown: list[str], absent: list[str]
) -> None:
    master.job |= more
    text = browser.get("/jobs/7").text
    assert [name for name in shown if f'id="{name}"' not in text] == []
    assert [name for name in absent if f'id="{name}"' in text] == []


@pytest.mark.parametrize(
    ("path", "fields", "op"),
    [
        ("pause", {}, "job.pause"),
        ("resume", {}, "job.resume"),
        ("pin", {"pinned": "1"}, "job.pin"),
        ("pin", {"pinned": ""}, "job.unpin"),
    ],
)
def test_a_button_asks_the_master_once_and_comes_back(
    browser: Browser, master: FakeMaster, path: str, fields: dict[str, str], op: str
) -> None:
    answer = browser.send(f"/jobs/7/{path}", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs/7")
    assert master.asked(op) == [{"job": 7}]
    assert browser.client.post(f"/jobs/7/{path}", data=fields).status_code == 400, "a form needs its token"
    assert len(master.asked(op)) == 1


def test_a_job_names_the_first_one_and_those_that_did_it_again(browser: Browser, master: FakeMaster) -> None:
    master.job |= {"rerun_of": 3, "reruns": [{"id": 8, "state": "failed"}, {"id": 9, "state": "running"}]}
    text = browser.get("/jobs/7").text
    for job in (3, 8, 9):
        assert f'href="/jobs/{job}"' in text


@pytest.mark.parametrize(
    ("again", "said", "told"),
    [
        (AGAIN, "2 hosts were off.", "Next at"),
        (AGAIN | {"over": True, "off": 0}, "All have answered meanwhile.", ""),
        (AGAIN | {"over": True}, "1 host did not come back in time.", ""),
    ],
)
def test_a_job_says_how_it_stands_with_hosts_that_were_off(
    browser: Browser, master: FakeMaster, again: dict[str, Any], said: str, told: str
) -> None:
    master.job |= {"again": again}
    text = browser.get("/jobs/7").text
    assert said in text
    assert told in text
    browser.send("/preferences", lang="zh")
    assert "2 台主机曾离线" in browser.get("/jobs/7").text


def test_a_job_says_why_it_waits_in_the_persons_language(browser: Browser, master: FakeMaster) -> None:
    why = {"code": "reason", "text": "Waits for a go-ahead after the canary.", "values": {}}
    master.job |= {"state": "paused", "why": why, "rollout": {"batch": "10%", "ask": True}, "locks": ["db"]}
    browser.send("/preferences", lang="zh")
    for path in ("/jobs/7", "/jobs"):
        assert "先行主机之后，等待放行。" in browser.get(path).text
    text = browser.get("/jobs/7").text
    assert "10%" in text
    assert "第一批之后询问" in text


def test_it_is_run_again_on_exactly_the_hosts_that_were_shown(browser: Browser, master: FakeMaster) -> None:
    text = browser.get("/jobs/7").text
    assert "/jobs/7/again?on=failed" in text
    assert "/jobs/7/again?on=unreachable" not in text
    text = browser.get("/jobs/7/again?on=failed").text
    assert master.asked("job.rerun_preview")[-1] == {"job": 7, "on": "failed"}
    assert re.findall(r'name="host_id" value="(\d+)"', text) == ["2"]
    assert "Run on 1 host" in text
    for _ in range(2):
        answer = browser.send("/jobs/7/again", host_id="2", key="a-key")
        assert answer.status_code == 303
    assert answer.headers["Location"] == "/jobs/7?again=1"
    assert master.asked("job.rerun")[-1] == {"job": 7, "hosts": [{"id": 2}]}
    assert browser.send("/jobs/7/again", host_id="two").status_code == 400


def test_hosts_are_chosen_without_script(browser: Browser, master: FakeMaster) -> None:
    text = browser.get("/jobs/7/again").text
    assert re.findall(r'name="host" value="([^"]+)"', text) == ["web-01", "web-02"]
    text = browser.get("/jobs/7/again?host=web-01").text
    assert master.asked("job.rerun_preview") == [{"job": 7, "hosts": ["web-01"]}]
    assert re.findall(r'name="host_id" value="(\d+)"', text) == ["1"]
    master.job |= {"hosts": 501}
    assert "too many hosts" in browser.get("/jobs/7/again").text


def test_what_the_master_refuses_is_said_and_nothing_is_run(browser: Browser, master: FakeMaster) -> None:
    text = browser.get("/jobs/7/again?on=unreachable").text
    assert "Job 7 has no host that is unreachable." in text
    assert 'id="run"' not in text
    assert browser.get("/jobs/8/again").status_code == 404
    master.confirm = 1
    answer = browser.send("/jobs/7/again", host_id="2", confirm="3")
    assert (answer.status_code, 'id="confirm"' in answer.text) == (400, True)
    assert browser.send("/jobs/7/again", host_id="2", confirm="1").status_code == 303


ROLLOUT = {
    "r.batch": "10%",
    "r.canary": "web-01, web-02",
    "r.ask": "1",
    "r.wait": "30",
    "r.stop_after": "3",
    "r.unreachable_counts": "1",
    "r.spread": "web-01, web-02; db-01 db-02",
    "r.verify": "http://{ip}/",
    "r.verify_times": "3",
    "r.verify_within": "60",
    "r.expect": "204",
    "r.pause_limit": "600",
    "r.timeout": "90",
    "r.start_before": "120",
    "r.hours": "24",
    "r.locks": "db-main deploy",
    "r.lock_mode": "refuse",
}


def test_the_roll_out_is_shown_before_it_is_run_and_sent_as_it_was_shown(
    browser: Browser, master: FakeMaster
) -> None:
    plan = {"module": "1001", "params_of": "1001", "p.lines": "20", "host": ["web-01", "web-02"], **ROLLOUT}
    assert 'id="rollout">' in browser.get("/run?module=1001&host=web-01").text, "closed until it is used"
    page = browser.send("/run/check", **plan)
    wanted = {
        "batch": "10%",
        "canary": ["web-01", "web-02"],
        "ask": True,
        "wait": "30",
        "stop_after": "3",
        "unreachable_counts": True,
        "spread": [["web-01", "web-02"], ["db-01", "db-02"]],
        "verify": "http://{ip}/",
        "verify_times": "3",
        "verify_within": "60",
        "expect": "204",
        "pause_limit": "600",
    }
    seen = master.asked("job.preview")[-1]
    assert (seen["rollout"], seen["locks"], seen["lock_mode"]) == (wanted, ["db-main", "deploy"], "refuse")
    assert "db-main, deploy" in page.text
    assert "--timeout 90 --start-before 120 --until +24h" in page.text
    assert "r.batch=10" in page.headers["HX-Replace-Url"]
    until = int(re.findall(r'name="until" value="(\d+)"', page.text)[0])
    assert until == pytest.approx(time.time() + 86_400, abs=60)
    hidden = dict(re.findall(r'type="hidden" name="(r\.[a-z_]+)" value="([^"]*)"', page.text))
    assert hidden == ROLLOUT
    assert browser.send("/run", **plan, host_id=["1", "2"], key="k", until=str(until)).status_code == 303
    sent = master.asked("job.submit")[-1]
    assert (sent["rollout"], sent["until"], sent["lock_mode"]) == (wanted, until, "refuse")
    assert (sent["timeout"], sent["start_before"]) == ("90", "120")


def test_a_limit_that_is_no_number_is_no_part_of_the_command_line(browser: Browser) -> None:
    page = browser.get("/run?module=1001&params_of=1001&p.lines=2&host=web-01&r.timeout=1;reboot")
    assert "omctl run" in page.text
    assert "--timeout" not in page.text


def test_what_is_changed_of_a_job_keeps_its_roll_out_for_the_hosts_that_are_left(
    browser: Browser, master: FakeMaster
) -> None:
    spread = [["web-01", "web-02"], ["web-01", "gone-1"]]
    rollout = {"canary": ["web-01", "gone-1"], "spread": spread, "ask": True, "wait": 30}
    master.job |= {"rollout": rollout, "locks": ["deploy"], "lock_mode": "skip"}
    browser.get("/run?from=7")
    seen = master.asked("job.preview")[-1]
    assert {"web-01", "web-02"} <= set(seen["hosts"])
    kept = {"canary": ["web-01"], "spread": [["web-01", "web-02"]], "ask": True, "wait": "30"}
    assert (seen["rollout"], seen["locks"], seen["lock_mode"]) == (kept, ["deploy"], "skip")


def test_a_run_without_a_roll_out_sends_none(browser: Browser, master: FakeMaster) -> None:
    browser.send("/run", module="1001", params_of="1001", host=["web-01"], host_id=["1"], key="k")
    assert not {"rollout", "until", "locks", "lock_mode"} & set(master.asked("job.submit")[-1])


def test_work_that_is_never_repeated_cannot_be_tried_again(browser: Browser) -> None:
    assert 'name="r.hours"' in browser.get("/run?module=1001&host=web-01").text
    text = browser.get("/run?module=1007&params_of=1007&p.service=x&host=web-01&r.hours=24").text
    assert 'id="run"' in text
    assert 'name="until"' not in text


def test_what_was_said_for_another_module_is_not_sent_for_one_that_goes_its_own_way(
    browser: Browser, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODULES[0], "direct", True)
    text = browser.get("/run?module=1001&params_of=1001&host=web-01&r.batch=1&r.hours=24").text
    assert 'id="rollout"' not in text
    assert 'name="until"' not in text
    assert "rollout" not in master.asked("job.preview")[-1]


def test_a_page_that_watches_a_job_learns_at_its_end_what_follows(
    browser: Browser, master: FakeMaster
) -> None:
    master.job |= {"again": AGAIN}
    master.results = [result(HOSTS[0], "unreachable", 3)]
    assert "2 hosts were off." in browser.get("/jobs/7/changes").json["head"]
    assert master.asked("job.show"), "events do not tell of it"
