"""What the pages say, with and without script; what hosts and modules wrote is text on every one of them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.console_rig import HOSTILE, MODULES, Browser, FakeMaster, result

PAGES = [
    "/run",
    "/run?module=1001&host=web-01",
    "/run?module=2001&host=web-01",
    "/run?from=7",
    "/jobs",
    "/jobs/7",
    "/jobs/7/groups",
    "/jobs/7/hosts/1",
    "/jobs/7/hosts/1?part=1",
    "/jobs/7/changes",
    "/jobs/7/events",
    "/jobs/7/cancel",
    "/jobs/7/again",
    "/jobs/7/again?on=failed",
    "/jobs/7/again?on=unreachable",
    "/hosts",
    "/hosts/web-01",
    "/modules",
    "/modules/1001",
    "/modules/2001",
    "/modules/2003",
    "/audit",
    "/people",
    "/connections",
    "/connections/salt",
    "/add-connection",
    "/add-connection?kind=salt",
    "/add-host",
    "/change-hosts?host=web-01",
    "/import",
    "/import/t0?status=conflict",
    "/settings",
    "/search?q=" + HOSTILE,
    "/no-such-page",
]


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


@pytest.fixture
def browser(tmp_path: Path, master: FakeMaster) -> Browser:
    browser = Browser(tmp_path, master)
    browser.sign_in()
    return browser


def plan(**more: Any) -> dict[str, Any]:
    """The fields of a Run page on which everything is chosen."""
    return {"module": "1001", "params_of": "1001", "p.lines": "20", "host": ["web-01", "web-02"], **more}


def checked(**more: Any) -> dict[str, Any]:
    """The fields of the third pane after a check of `plan`."""
    return plan(**{"host_id": ["1", "2"], "key": "a-key", **more})


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_others_wrote_is_text_on_every_page(browser: Browser, path: str, language: str) -> None:
    browser.send("/preferences", lang=language)
    text = browser.get(path).text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("path", PAGES)
def test_nothing_of_a_failed_master_is_shown_but_that_it_is_down(
    browser: Browser, master: FakeMaster, path: str
) -> None:
    master.down = True
    answer = browser.get(path)
    assert answer.status_code == 503
    assert "The master does not answer" in answer.text
    assert "Traceback" not in answer.text


def test_a_page_without_master_waits_for_it(browser: Browser, master: FakeMaster) -> None:
    master.down = True
    assert 'data-wait-for="/health"' in browser.get("/jobs").text
    assert browser.get("/health").status_code == 503
    master.down = False
    assert browser.get("/health").json == {"web": "up", "master": "up"}


def test_a_form_whose_fate_is_not_known_can_be_sent_again(browser: Browser, master: FakeMaster) -> None:
    token = browser.token()
    master.down = True
    answer = browser.send("/run", token=token, **checked())
    assert answer.status_code == 503
    assert "it will not be done twice" in answer.text
    assert '<input type="hidden" name="key" value="a-key">' in answer.text
    assert answer.text.count('name="host_id"') == 2


def test_the_language_is_the_browsers_until_one_is_chosen(browser: Browser) -> None:
    assert "任务" in browser.get("/jobs", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}).text
    browser.send("/preferences", lang="en", next="/jobs")
    assert "任务" not in browser.get("/jobs", headers={"Accept-Language": "zh-CN"}).text


def test_the_choice_of_light_is_in_the_page_itself(browser: Browser) -> None:
    assert 'data-light="auto"' in browser.get("/jobs").text
    browser.send("/preferences", light="dark")
    assert 'data-light="dark"' in browser.get("/jobs").text
    browser.send("/preferences", light="pink")
    assert 'data-light="dark"' in browser.get("/jobs").text


@pytest.mark.parametrize(
    ("language", "number", "words"),
    [("en", 1, "1 job paused"), ("en", 12, "12 jobs paused"), ("zh", 12, "12 个任务已暂停")],
)
def test_every_page_says_how_many_jobs_are_paused_and_leads_to_them(
    browser: Browser, master: FakeMaster, language: str, number: int, words: str
) -> None:
    browser.send("/preferences", lang=language)
    master.paused = number
    for path in ("/run", "/jobs/7", "/no-such-page"):
        (badge,) = re.findall(r'<a class="tag amber paused".*?</a>', browser.get(path).text)
        assert 'href="/jobs?state=paused"' in badge
        assert badge.count(words) == 3
        assert f'<span class="number">{number}</span>' in badge


def test_where_nothing_is_paused_no_page_says_so(browser: Browser) -> None:
    assert 'id="paused"' not in browser.get("/jobs").text


def test_paused_jobs_cost_no_request_of_their_own_and_parts_of_pages_nothing(
    browser: Browser, master: FakeMaster
) -> None:
    master.calls.clear()
    browser.get("/settings")
    browser.get("/jobs/7/changes", headers={"X-Requested-With": "fetch"})
    browser.get("/search?q=web", headers={"HX-Request": "true"})
    assert master.asked("auth.whoami") == [{"paused": True}, {}, {}]
    assert master.calls[0][0] == "auth.whoami"
    assert master.calls[1][0] == "auth.whoami"


def test_hosts_are_filtered_without_script(browser: Browser, master: FakeMaster) -> None:
    text = browser.get("/run?categ=2&app=2&q=db&host=web-01").text
    assert master.asked("hosts.list")[-1] == {"categ_id": 2, "app_id": 2, "search": "db", "limit": 500}
    assert 'value="db-01"' in text
    assert "1 host picked" in text
    assert re.search(r'name="host" value="web-01" checked', text), "a pick outlives a filter"


def test_the_applications_are_those_of_the_function(browser: Browser) -> None:
    text = browser.get("/run?categ=2").text
    assert "db.domain.com" in text
    assert "www.domain.com (2)" not in text


def test_all_shown_are_picked_by_one_button(browser: Browser) -> None:
    assert "3 hosts picked" in browser.send("/run/check", all="1").text
    assert "2 hosts picked" in browser.get("/run?categ=1&all=1").text
    assert "0 hosts picked" in browser.send("/run/check", none="1", host=["web-01"]).text


def test_a_pasted_list_is_added(browser: Browser) -> None:
    text = browser.send("/run/check", host=["web-01"], paste="WEB-01, web-02;\n db-01").text
    assert "3 hosts picked" in text


def test_a_check_shows_what_will_be_hit(browser: Browser) -> None:
    text = browser.send("/run/check", **plan()).text
    assert "Run on 2 hosts" in text
    assert "web-01 was last seen 2 h ago." in text
    assert "10.0.0.2" in text
    assert text.count('name="host_id"') == 2


def test_a_check_runs_nothing_and_leaves_an_address(browser: Browser, master: FakeMaster) -> None:
    answer = browser.send("/run/check", **plan())
    assert master.asked("job.submit") == []
    address = answer.headers["HX-Replace-Url"]
    assert address == "/run?module=1001&host=web-01&host=web-02&params_of=1001&p.lines=20"
    assert "Run on 2 hosts" in browser.get(address).text


def test_an_address_that_would_be_too_long_is_not_left(browser: Browser) -> None:
    answer = browser.send("/run/check", paste=" ".join(f"host-{n}" for n in range(400)))
    assert answer.headers["HX-Replace-Url"] == "/run"


def test_what_is_missing_is_said_before_it_is_asked_for(browser: Browser) -> None:
    assert "Pick hosts on the left, then a module." in browser.get("/run").text
    assert "Pick at least one host." in browser.get("/run?module=1001").text
    assert "Pick a module." in browser.get("/run?host=web-01").text


def test_an_empty_field_is_not_scolded_before_it_was_seen(browser: Browser) -> None:
    text = browser.get("/run?module=1007&host=web-01").text
    assert "Fill in “Service”." in text
    assert 'aria-invalid="true"' not in text


def test_a_fault_is_said_at_its_field(browser: Browser) -> None:
    text = browser.send("/run/check", **plan(**{"p.lines": "many"})).text
    field = text[text.index('data-field="lines"') :]
    assert "A whole number from 1 to 999." in field
    assert 'value="many"' in field
    assert "Run on" not in text


def test_a_wrong_value_is_not_asked_for_as_if_nothing_were_there(browser: Browser) -> None:
    text = browser.send("/run/check", **plan(**{"p.lines": "many"})).text
    assert "“Lines” cannot be “many”. A whole number from 1 to 999." in text
    assert "Fill in" not in text


def test_what_a_host_said_in_one_line_stands_there_once(browser: Browser, master: FakeMaster) -> None:
    master.output, master.cut = b"No such file.\n", 0
    only = {"reason": "No such file.", "first_line": "No such file.", "rc": 1, "cut": False, "late": False}
    master.results = [result({"id": 1, "name": "web-01", "lip": "10.0.0.11"}, "failed", 3, **only)]
    for path in ("/jobs/7", "/jobs/7/hosts/1", "/jobs/7/groups"):
        assert browser.get(path).text.count("No such file.") == 1, path


def test_an_english_text_that_is_missing_is_not_said_in_chinese(browser: Browser) -> None:
    MODULES.append({**MODULES[0], "id": "2999", "caption": "", "caption_zh": "中文说明"})
    try:
        english = browser.get("/modules/2999").text
        chinese = browser.get("/modules/2999", headers={"Accept-Language": "zh"}).text
    finally:
        MODULES.pop()
    assert "中文说明" not in english
    assert "中文说明" in chinese


def test_unknown_hosts_are_named_and_nothing_can_be_run(browser: Browser) -> None:
    text = browser.send("/run/check", **plan(host=["web-01", "nope"])).text
    assert "Some of these hosts are not known here." in text
    assert 'class="chip red">nope<' in text
    assert 'name="host_id"' not in text


def test_hosts_that_one_may_not_touch_are_named(browser: Browser) -> None:
    text = browser.send("/run/check", **plan(host=["db-01"])).text
    assert "You may not do that." in text
    assert 'class="chip red">db-01<' in text


def test_a_module_that_is_broken_says_where(browser: Browser) -> None:
    text = browser.get("/run?module=2003&host=web-01").text
    assert "This module is broken, line 12:" in text
    assert 'name="host_id"' not in text


def test_what_was_checked_is_what_is_run(browser: Browser, master: FakeMaster) -> None:
    answer = browser.send("/run", **checked())
    assert answer.status_code == 303
    assert answer.location == "/jobs/7"
    sent = {"module": "1001", "params": {"lines": "20"}, "hosts": [{"id": 1}, {"id": 2}]}
    assert master.asked("job.submit") == [sent]
    assert [key for op, _args, _session, key in master.calls if op == "job.submit"] == ["a-key"]


def test_a_dry_run_is_offered_where_the_module_can_and_asked_for_as_such(
    browser: Browser, master: FakeMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Dry run" not in browser.send("/run/check", **checked()).text
    monkeypatch.setitem(next(each for each in MODULES if each["id"] == "1001"), "check", True)
    assert "Dry run: change nothing" in browser.send("/run/check", **checked()).text
    text = browser.send("/run/check", **checked(), dry_run="1").text
    assert "Dry run on 2 hosts" in text
    assert 'name="dry_run" value="1"' in text[text.index('<form id="check"') :]
    browser.send("/run", **checked(), dry_run="1")
    assert master.asked("job.submit")[-1]["dry_run"] is True


def test_a_page_tells_a_dry_run_and_the_ways_that_were_passed_over(
    browser: Browser, master: FakeMaster
) -> None:
    master.job = {**master.job, "dry_run": True}
    master.results = [{**row, "passed_over": f"salt-sz: {HOSTILE}"} for row in master.results]
    for path in ("/jobs", "/jobs/7", f"/jobs/7/hosts/{master.results[0]['host_id']}"):
        assert "dry run" in browser.get(path).text
    text = browser.get(f"/jobs/7/hosts/{master.results[0]['host_id']}").text
    assert "Passed over: salt-sz: &lt;script&gt;" in text


def test_a_form_sent_twice_makes_one_job_and_says_so(browser: Browser, master: FakeMaster) -> None:
    browser.send("/run", **checked())
    answer = browser.send("/run", **checked())
    assert answer.location == "/jobs/7?again=1"
    assert "This form had been sent already" in browser.get(answer.location).text
    assert len(master.made) == 1


def test_each_form_has_a_key_of_its_own(browser: Browser) -> None:
    keys = {
        re.search(r'name="key" value="([^"]+)"', browser.send("/run/check", **plan()).text)[1] for _ in "ab"
    }
    assert len(keys) == 2


def test_values_of_every_kind_reach_the_master_as_they_were_typed(
    browser: Browser, master: FakeMaster
) -> None:
    typed = {"p.days": ["", "mon", "tue"], "p.files": "a b\r\n\r\n$(c)\r\n", "p.force": ["false", "true"]}
    browser.send("/run", **checked(module="2001", params_of="2001", **typed))
    assert master.asked("job.submit")[0]["params"] == {
        "days": ["mon", "tue"],
        "files": ["a b", "$(c)"],
        "force": "true",
    }


def test_a_box_that_is_not_ticked_is_a_no(browser: Browser, master: FakeMaster) -> None:
    browser.send("/run", **checked(module="2001", params_of="2001", **{"p.force": "false"}))
    assert master.asked("job.submit")[0]["params"] == {"force": "false"}


def test_many_hosts_are_confirmed_by_their_number(browser: Browser, master: FakeMaster) -> None:
    master.confirm = 2
    assert "Type 2 to confirm." in browser.send("/run/check", **plan()).text
    refused = browser.send("/run", **checked(confirm="3"))
    assert refused.status_code == 400
    assert "Type the number of hosts to confirm." in refused.text
    assert master.made == {}
    assert browser.send("/run", **checked(confirm="2")).location == "/jobs/7"


def test_a_run_that_is_refused_keeps_what_was_filled_in(browser: Browser) -> None:
    answer = browser.send("/run", **checked(**{"p.lines": "many"}))
    assert answer.status_code == 400
    assert 'value="many"' in answer.text
    assert "2 hosts picked" in answer.text


def test_a_job_can_be_run_again_where_it_failed(browser: Browser) -> None:
    assert "2 hosts picked" in browser.get("/run?from=7").text
    text = browser.get("/run?from=7&only=failed").text
    assert "1 host picked" in text
    assert 'value="web-02" checked' in text


def test_a_job_that_is_not_there_is_not_found(browser: Browser) -> None:
    for path in ("/jobs/8", "/jobs/8/events", "/run?from=8", "/run?from=x", "/jobs/7/hosts/9"):
        assert browser.get(path).status_code == 404, path


def test_the_counts_of_a_job_are_its_filter(browser: Browser) -> None:
    text = browser.get("/jobs/7?state=failed").text
    assert 'id="host-2"' in text
    assert 'id="host-1"' not in text
    assert 'href="/jobs/7?state=ok"' in text


def test_a_job_on_few_hosts_shows_what_they_printed(browser: Browser, master: FakeMaster) -> None:
    assert "<pre" in browser.get("/jobs/7").text
    master.job = {**master.job, "hosts": 5}
    assert "<pre" not in browser.get("/jobs/7").text


def test_hidden_characters_are_seen(browser: Browser) -> None:
    text = browser.get("/jobs/7/hosts/1").text
    assert '<span class="ctl">␛[31m</span>red' in text
    assert '<span class="ctl">\\xff</span>' in text
    assert '<span class="ctl">U+202E</span>' in text


def test_what_was_cut_is_said(browser: Browser) -> None:
    assert "1.2 KiB were cut off here and are not kept." in browser.get("/jobs/7/hosts/1").text


def test_a_long_output_goes_on_where_it_was_broken_off(browser: Browser, master: FakeMaster) -> None:
    letters = "ä€𝄞" * 60_000
    master.output = letters.encode()
    master.results = [
        result({"id": 1, "name": "web-01", "lip": ""}, "ok", 3, stdout_bytes=len(master.output))
    ]
    seen, path = "", "/jobs/7/hosts/1"
    for _ in range(20):
        text = browser.get(path).text
        seen += re.search(r"<pre[^>]*>(.*)</pre>", text, re.DOTALL)[1]
        onward = re.search(r'href="([^"]+offset=\d+)"', text)
        if not onward:
            break
        path = onward[1].replace("&amp;", "&")
    assert seen == letters


def test_the_bytes_can_be_had_as_they_came(browser: Browser, master: FakeMaster) -> None:
    master.output = bytes(range(256)) * 3000
    answer = browser.get("/jobs/7/hosts/1/stdout.txt")
    assert answer.data == master.output
    assert answer.headers["Content-Disposition"] == 'attachment; filename="job-7-host-1-stdout.txt"'
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert browser.get("/jobs/7/hosts/1/passwd.txt").status_code == 404


def test_a_job_is_stopped_by_a_form(browser: Browser, master: FakeMaster) -> None:
    master.job = {**master.job, "state": "running", "finished": None}
    assert "Stop the job" in browser.get("/jobs/7").text
    assert browser.send("/jobs/7/cancel").location == "/jobs/7"
    assert master.asked("job.cancel") == [{"job": 7}]


def test_a_job_that_is_over_cannot_be_stopped_but_run_again(browser: Browser) -> None:
    text = browser.get("/jobs/7").text
    assert "Stop the job" not in text
    assert 'href="/run?from=7"' in text


def test_a_number_leads_to_the_job(browser: Browser) -> None:
    assert browser.get("/search?q=7").location == "/jobs/7"
    assert browser.get("/search?q=%237").location == "/jobs/7"
    assert browser.get("/search?q=1001").status_code == 200, "a module's number is not taken for a job's"


def test_the_filters_of_the_jobs_reach_the_master(browser: Browser, master: FakeMaster) -> None:
    text = browser.get("/jobs?state=failed&module=1001&user=li&host=web-01&before=9").text
    wanted = {"state": "failed", "module": "1001", "user": "li", "host": "web-01", "before": 9, "limit": 50}
    assert master.asked("job.list") == [wanted]
    assert "before=7" in text, "the next page begins where this one ends"
    assert "hours=24" in browser.get("/jobs?hours=24").text
    assert master.asked("job.list")[-1]["since"] == pytest.approx(time.time() - 86_400, abs=30)
    browser.get("/jobs?hours=9999")
    assert "since" not in master.asked("job.list")[-1]


def test_a_module_says_what_it_takes(browser: Browser) -> None:
    text = browser.get("/modules/1001").text
    assert "A whole number from 1 to 999." in text
    assert "cd" * 32 in text


def test_a_password_is_changed_only_with_the_old_one(browser: Browser) -> None:
    assert browser.send("/settings/password", old="right", new="a", again="b").status_code == 400
    assert browser.send("/settings/password", old="wrong", new="a", again="a").status_code == 400
    assert (
        browser.send("/settings/password", old="right", new="a", again="a").location == "/settings?changed=1"
    )


def test_a_mistake_of_ours_is_owned_up_to_under_a_number(
    browser: Browser, master: FakeMaster, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(op: str) -> None:
        raise RuntimeError("the secret inside")

    master.before = fail
    answer = browser.get("/jobs")
    assert answer.status_code == 500
    assert "the secret inside" not in answer.text
    number = re.search(r"<code>([0-9a-f]{8})</code>", answer.text)[1]
    assert f"request {number} failed" in caplog.text


def test_every_stock_kind_of_parameter_has_a_field(browser: Browser) -> None:
    kinds = ["int", "number", "choice", "choices", "text", "lines", "bool", "time", "path"]
    params = [
        {
            **MODULES[0]["params"][0],
            "name": kind,
            "kind": kind,
            "default": None,
            "choices": [["a", "A", "甲"]],
        }
        for kind in kinds
    ]
    MODULES.append({**MODULES[0], "id": "2999", "params": params})
    try:
        text = browser.get("/run?module=2999&host=web-01").text
    finally:
        MODULES.pop()
    assert [kind for kind in kinds if f'name="p.{kind}"' not in text] == []
