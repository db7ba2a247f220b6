"""Dry runs: what a module must say for them, and what is kept of one."""

from __future__ import annotations

import base64

import pytest

from omserver_client import BadRequest, Client
from tests.system import System, wait_for_end


def output_of(client: Client, job: int) -> str:
    (row,) = client.results(job)["results"]
    return base64.b64decode(client.output(job, row["host_id"])["text"]).decode()


def test_a_dry_run_does_the_check_instead_of_the_command(admin: Client) -> None:
    plan = admin.preview("2021", {"word": "a b"}, ["alpha"], dry_run=True)
    assert (plan["dry_run"], plan["confirm"]) == (True, None)
    assert "--dry-run" in plan["omctl"]
    job = admin.submit("2021", {"word": "a b"}, ["alpha"], dry_run=True)["job"]
    assert (job["dry_run"], job["repeat"]) == (True, "read_only")
    assert wait_for_end(admin, job["id"])["state"] == "succeeded"
    assert output_of(admin, job["id"]) == "would say a b\n"


def test_without_it_the_command_runs_and_the_risk_counts(admin: Client) -> None:
    assert admin.preview("2021", {}, ["alpha"])["confirm"] == 1
    job = admin.submit("2021", {}, ["alpha"], confirm=1)["job"]
    assert (job["dry_run"], job["repeat"]) == (False, "once")
    wait_for_end(admin, job["id"])
    assert output_of(admin, job["id"]) == "said hi\n"


def test_a_module_that_cannot_be_run_dry_says_so_and_nothing_runs(admin: Client) -> None:
    before = admin.jobs(limit=1)["jobs"][0]["id"] if admin.jobs(limit=1)["jobs"] else 0
    for ask in (admin.preview, admin.submit):
        with pytest.raises(BadRequest, match="2001 can't be run dry") as error:
            ask("2001", {"word": "x"}, ["alpha"], dry_run=True)
        assert error.value.details["field"] == "dry_run"
    assert [job["id"] for job in admin.jobs(limit=1)["jobs"]] in ([], [before])


def test_the_list_of_modules_tells_which_can_be_run_dry(admin: Client) -> None:
    can = {module["id"]: module["check"] for module in admin.modules()}
    assert can["2021"] is True
    assert can["2001"] is False


def test_the_audit_tells_a_dry_run_from_a_run(site: System, admin: Client) -> None:
    job = admin.submit("2021", {"word": "x"}, ["alpha"], dry_run=True)["job"]["id"]
    events = admin.call("audit.list", {"limit": 20})["rows"]
    (event,) = [event for event in events if event["target"] == f"job {job}"]
    assert event["detail"].startswith("dry run of module 2021")
