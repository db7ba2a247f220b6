"""A job while it runs: its stream of rows, and the hosts that printed the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.console_rig import Browser, FakeMaster, result


@pytest.fixture
def master() -> FakeMaster:
    return FakeMaster()


@pytest.fixture
def browser(tmp_path: Path, master: FakeMaster) -> Browser:
    browser = Browser(tmp_path, master)
    browser.sign_in()
    return browser


def events(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")
    ]


def test_a_stream_brings_the_rows_and_ends_with_the_job(browser: Browser) -> None:
    answer = browser.get("/jobs/7/events")
    assert answer.mimetype == "text/event-stream"
    (news,) = events(answer.text)
    assert news["over"] is True
    assert [row["id"] for row in news["rows"]] == [1, 2]
    assert "id: 4\n" in answer.text


def test_a_stream_that_was_cut_off_goes_on_after_the_last_event(browser: Browser) -> None:
    (news,) = events(browser.get("/jobs/7/events?since=0", headers={"Last-Event-ID": "3"}).text)
    assert [row["id"] for row in news["rows"]] == [2]
    assert [row["id"] for row in browser.get("/jobs/7/changes?since=3").json["rows"]] == [2]


def test_a_stream_waits_at_the_master_for_more(browser: Browser, master: FakeMaster) -> None:
    master.job = {**master.job, "state": "running", "finished": None}

    def end_at_the_second_question(op: str) -> None:
        if len(master.asked("job.events")) == 3:
            master.job = {**master.job, "state": "failed", "event": 5}

    master.before = end_at_the_second_question
    first, last = events(browser.get("/jobs/7/events?since=3").text)
    assert (first["over"], last["over"]) == (False, True)
    assert [args["since"] for args in master.asked("job.events")] == [3, 4, 4]


def test_streams_beyond_the_cap_are_refused(tmp_path: Path, master: FakeMaster) -> None:
    browser = Browser(tmp_path, master, OMSERVER_WEB_STREAMS="1")
    browser.sign_in()
    streams = browser.app.extensions["streams"]
    assert streams.acquire(blocking=False), "one is open"
    assert browser.get("/jobs/7/events").status_code == 503
    assert browser.get("/jobs/7/changes").status_code == 200
    streams.release()
    for _ in range(3):
        answer = browser.get("/jobs/7/events")
        assert answer.status_code == 200, "a stream that ended leaves its place"
        answer.close()


def test_hosts_that_printed_the_same_stand_together(browser: Browser, master: FakeMaster) -> None:
    hosts = [{"id": number, "name": f"web-{number}", "lip": ""} for number in range(1, 6)]
    texts = {1: b"one\nsame\n", 2: b"two\nsame\n", 3: b"two\nsame\n", 4: b"two\nsame\n", 5: b"one\nsame\n"}
    master.results = [result(host, "ok", 1, stdout_bytes=9) for host in hosts]
    master._job_output = lambda job, host_id, stream, **more: {  # type: ignore[method-assign]
        **FakeMaster._job_output(_printing(texts[host_id]), job, host_id, stream)
    }
    text = browser.get("/jobs/7/groups").text
    assert re.findall(r'class="big-number">(\d+)<', text) == ["3", "2"]
    assert '<span class="minus">-two</span>' in text
    assert '<span class="plus">+one</span>' in text


def _printing(output: bytes) -> FakeMaster:
    master = FakeMaster()
    master.output = output
    return master
