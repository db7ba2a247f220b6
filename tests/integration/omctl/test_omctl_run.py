"""omctl run: what is sent, what is shown of it, and how it ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from omserver_client.messages import Request
from tests.integration.fake_master import FakeMaster, job, result
from tests.integration.omctl.terminal import RUN, Omctl, read_until


def test_run_shows_each_host_and_ends_with_0(logged_in: FakeMaster, omctl: Omctl) -> None:
    ended = omctl(*RUN)
    assert ended.code == 0
    assert [line.split()[:2] for line in ended.out.splitlines()[:2]] == [["ok", "web-01"], ["ok", "web-02"]]
    assert "Job 7 succeeded, 2 ok" in ended.out
    sent = logged_in.sent("job.submit")
    assert sent.args["hosts"] == ["web-01", "web-02"]
    assert sent.args["params"] == {"lines": "20"}
    assert sent.key, "a run must carry an idempotency key"


def test_parameters_by_position_are_sent_as_a_list(logged_in: FakeMaster, omctl: Omctl) -> None:
    words = ("run", "1001", "--host", "web-01", "--arg", "b", "--arg", "", "--arg=-p", "--arg", "a=1")
    assert omctl(*words).code == 0
    assert logged_in.sent("job.preview").args["params"] == ["b", "", "-p", "a=1"]
    assert logged_in.sent("job.submit").args["params"] == ["b", "", "-p", "a=1"]


def test_parameters_by_name_and_by_position_together_are_wrong_usage(
    logged_in: FakeMaster, omctl: Omctl
) -> None:
    ended = omctl(*RUN, "--arg", "b")
    assert ended.code == 2
    assert "not both" in ended.err
    assert "job.submit" not in [request.op for request in logged_in.requests]


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
    logged_in.output, logged_in.cut = b"\x1b[31mcaf\xe9 \xc2\x9b\n", 17
    ended = omctl(*RUN, "--json", "--output")
    assert ended.out.isascii()
    document = ended.document
    assert document["job"]["state"] == "succeeded"  # type: ignore[index]
    assert [row["host"] for row in document["results"]] == ["web-01", "web-02"]  # type: ignore[attr-defined]
    assert document["results"][0]["stdout"] == "\x1b[31mcaf\\xe9 \x9b\n"  # type: ignore[index]
    assert document["results"][0]["stdout_cut"] == 17  # type: ignore[index]


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
        read_until(terminal, b"Type 2")
        os.write(terminal, f"{typed}\n".encode())
        read_until(terminal, b"Not confirmed" if code else b"2 ok")
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
    assert said == "omctl: the job goes on. Follow it: omctl job tail 7\n"
    assert "job.cancel" not in [request.op for request in logged_in.requests]


@pytest.mark.parametrize("words", [RUN, ("job", "tail", "7"), (*RUN, "--json")])
def test_a_question_is_said_once_with_how_to_answer_it(
    logged_in: FakeMaster, omctl: Omctl, words: tuple[str, ...]
) -> None:
    question = "Waits for a go-ahead after the canary."
    asks = {"state": "paused", "reason": question, "pause_asked": True, "paused_by": ""}
    held = asks | {"reason": "Paused by li.", "paused_by": "li"}
    over = logged_in.job | {"event": 9, "why": None}
    news = iter([over | stand for stand in ({"state": "running"}, asks, asks, held)])

    def turn(request: Request) -> None:
        if request.op == "job.events":
            logged_in.job = next(news, over)

    logged_in.on_request = turn
    ended = omctl(*words)
    assert ended.code == 0
    assert ended.err == "Job 7 waits for a go-ahead after the canary: omctl job resume 7\n"
    assert "--json" not in words or ended.document["job"]


def test_a_job_that_waits_says_for_what_whenever_that_changes(logged_in: FakeMaster, omctl: Omctl) -> None:
    held = {"code": "lock_held", "text": "Lock deploy is held by job 6 (li).", "values": {"job": 6}}
    logged_in.job = logged_in.job | {"why": held}
    ended = omctl(*RUN, "--lock", "deploy", "--lock-mode", "queue")
    assert ended.out.count("Job 7 waits: Lock deploy is held by job 6 (li).") == 1
    for op in ("job.preview", "job.submit"):
        args = logged_in.sent(op).args
        assert (args["locks"], args["lock_mode"]) == (["deploy"], "queue")
    listed = omctl("jobs").out.splitlines()
    assert listed[0].endswith("waits for")
    assert listed[1].endswith("Lock deploy is held by job 6 (li).")


def test_a_job_that_begins_on_no_other_host_is_not_said_to_wait(logged_in: FakeMaster, omctl: Omctl) -> None:
    why = {"code": "stopped", "text": "Stopped after 1 failure (limit 1).", "values": {}}
    logged_in.job = logged_in.job | {"why": why}
    assert omctl(*RUN).out.count("Job 7: Stopped after 1 failure (limit 1).\n") == 1
