"""The campaign's oracle: it says nothing about what is right, and names each thing that is wrong."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

import pytest

from campaign.acks import Asked
from campaign.oracle import HostRow, JobRow, judge

TOKEN = "tok-00"


def wish(**changes: Any) -> Asked:
    asked = Asked(TOKEN, "once", 1, ("h-01",), 0.1, job=1, acknowledged=1.0, answered_jobs={1})
    asked.__dict__.update(changes)
    return asked


def job(state: str = "succeeded", host: str = "ok", **changes: Any) -> JobRow:
    row = {"rc": 0, "stdout": b"done\n"} | changes if host == "ok" else changes
    return JobRow(1, TOKEN, state, [HostRow("h-01", host, **row)])


def took(at: float = 2.0, handle: str = "a") -> dict[str, Any]:
    return {"at": at, "did": "took", "handle": handle, "host": "h-01", "command": f"echo {TOKEN} ; true"}


def answered(at: float = 3.0, handle: str = "a") -> dict[str, Any]:
    text = base64.b64encode(b"done\n").decode()
    line = {"at": at, "did": "answered", "handle": handle, "host": "h-01"}
    return {**line, "state": "done", "rc": 0, "stdout": text}


RAN = [took(), answered()]
SUBMITTED = {"job.submit": Counter({1: 1}), "job.cancel": Counter()}


def test_what_went_right_is_no_violation() -> None:
    verdict = judge([wish(seen={"h-01": {"state": "ok", "rc": 0}})], [job()], RAN, SUBMITTED)
    assert verdict.violations == []
    assert (verdict.figures["host results"], verdict.figures["works begun"]) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "asked", "jobs", "ledger"),
    [
        ("lost job", wish(), [], []),
        ("doubled job", wish(), [job(), JobRow(2, TOKEN, "succeeded", job().hosts)], RAN),
        ("stuck", wish(), [job("running", "dispatched")], [took()]),
        ("stuck", wish(), [job("succeeded", "pending")], []),
        ("lost host", wish(hosts=("h-01", "h-02")), [job()], RAN),
        ("lost result", wish(seen={"h-01": {"state": "failed", "rc": 1}}), [job()], RAN),
        ("lost result", wish(seen_end="failed"), [job()], RAN),
        ("done twice", wish(), [job()], [*RAN, took(4, "b"), answered(5, "b")]),
        (
            "overlap",
            wish(repeat="idempotent"),
            [job()],
            [took(), took(2.5, "b"), answered(), answered(4, "b")],
        ),
        ("ok without proof", wish(), [job()], [took()]),
        ("wrong output", wish(), [job(stdout=b"other\n")], RAN),
        ("not not_started", wish(), [job("failed", "not_started")], [took()]),
        ("cancelled without proof", wish(cancelled=5.0), [job("cancelled", "cancelled")], [took()]),
        ("start after cancel", wish(cancelled=1.5), [job()], RAN),
        ("start after cancel", wish(cancelled=1.5), [job(intents=(1.6,))], RAN),
        ("unresolved", wish(), [job("failed", "unknown", reason="lost")], RAN),
        ("unexplained", wish(), [job("failed", "unknown")], [took()]),
        ("nobody's work", wish(job=None, answered_jobs=set()), [], [took()]),
    ],
)
def test_what_is_wrong_is_named(
    kind: str, asked: Asked, jobs: list[JobRow], ledger: list[dict[str, Any]]
) -> None:
    assert kind in judge([asked], jobs, ledger).kinds


def test_work_that_was_under_way_before_a_cancel_may_arrive_after_it() -> None:
    asked = wish(cancelled=1.5)
    assert judge([asked], [job(intents=(1.4,))], RAN, latest_send=1.0).violations == []


def test_each_step_must_have_been_under_way_by_itself() -> None:
    asked = wish(steps=2, cancelled=3.5)
    steps = [{**line, "handle": name} for name in ("first", "second") for line in RAN]
    for line, (name, at) in zip(
        steps, [("first", 2), ("first", 3), ("second", 4), ("second", 5)], strict=True
    ):
        line |= {"at": at} | ({"command": f"echo {TOKEN}/{name} ; true"} if "command" in line else {})
    assert judge([asked], [job(intents=(1.9, 3.4))], steps).violations == []
    assert judge([asked], [job(intents=(1.9, 3.6))], steps).kinds == {"start after cancel"}
    assert judge([asked], [job(intents=(1.9,))], steps).kinds == {"start after cancel"}


def test_an_idempotent_repeat_after_the_first_try_is_over_is_right() -> None:
    ledger = [*RAN, took(4, "b"), answered(5, "b")]
    assert judge([wish(repeat="idempotent")], [job()], ledger).violations == []


def test_a_late_answer_may_replace_unknown() -> None:
    seen = {"h-01": {"state": "unknown", "rc": None}}
    assert judge([wish(seen=seen)], [job()], RAN).violations == []


def test_every_job_has_one_audit_row() -> None:
    for rows in (0, 2):
        audit = {"job.submit": Counter({1: rows}), "job.cancel": Counter()}
        assert judge([wish()], [job()], RAN, audit).kinds == {"audit"}


def test_an_answer_that_came_when_its_time_was_over_is_kept() -> None:
    told = {"host": "timed_out", "reason": "Not finished by the deadline."}
    short = wish(options={"timeout": 1})
    assert judge([short], [job("failed", **told)], RAN).kinds == {"unresolved"}
    assert judge([short], [job("failed", **told)], [took()]).kinds == frozenset()
    assert judge([wish()], [job("failed", **told)], RAN).kinds == frozenset(), "it may still be asked for"
