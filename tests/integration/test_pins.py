"""Jobs that are kept: who may say so, and what it leaves behind."""

from __future__ import annotations

import pytest

from omserver_client import Client
from omserver_client.errors import Forbidden, NotFound
from tests.system import System, wait_for_end


def test_a_job_is_pinned_and_unpinned_and_the_audit_tells_of_each_change_once(admin: Client) -> None:
    job = admin.submit("2001", {"word": "x"}, ["alpha"])["job"]
    assert not job["pinned"]
    wait_for_end(admin, job["id"])
    event = admin.job(job["id"])["event"]
    assert [admin.pin_job(job["id"])["pinned"] for _ in range(2)] == [True, True]
    assert admin.job(job["id"])["event"] == event + 1
    assert admin.jobs(limit=1)["jobs"][0]["pinned"]
    assert not admin.unpin_job(job["id"])["pinned"]
    rows = [row for row in admin.audit(limit=20)["rows"] if row["target"] == f"job {job['id']}"]
    assert [row["action"] for row in rows[:2]] == ["job.unpin", "job.pin"]


def test_a_job_is_pinned_only_by_who_may_run_it(site: System, admin: Client) -> None:
    job = admin.submit("2001", {"word": "x"}, ["alpha", "other"])["job"]["id"]
    hidden = admin.submit("2001", {"word": "x"}, ["other"])["job"]["id"]
    for user, refusal, number in (
        ("olga", Forbidden, job),
        ("olga", NotFound, hidden),
        ("victor", Forbidden, job),
    ):
        with site.client(user=user) as client, pytest.raises(refusal):
            client.pin_job(number)
    assert not admin.job(job)["pinned"]
    with site.client(user="olga") as olga:
        own = olga.submit("2001", {"word": "x"}, ["alpha"])["job"]["id"]
        assert olga.pin_job(own)["pinned"]
