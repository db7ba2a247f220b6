"""Locks and what jobs wait for, through a real master with one worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from omserver_client import Client, Locked
from omserver_client.errors import BadRequest
from omserver_master.store import hosts
from omserver_master.store.engine import begin as begin_transaction
from tests.integration.conftest import MODULES
from tests.system import System, wait_for_end


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("locks"), modules_dir=MODULES, workers=1, max_jobs_per_person=3)
    for name in ("alpha", "beta"):
        system.add_hosts([name], system.add_connection(f"here-{name}", "local"))
    system.add_user("olga", "operator")
    elsewhere = system.add_connection("here-gamma", "local")
    system.add_hosts(["gamma"], elsewhere, app="db.domain.com", category="Linux.Db")
    with begin_transaction(system.engine) as conn:
        category = hosts.add_category(conn, "Linux.Db")
    system.add_user("paula", "operator", categ_id=category)
    system.start()
    yield system
    system.close()


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with system.client() as client:
        yield client
        for job in client.jobs()["jobs"]:
            if job["finished"] is None:
                client.cancel(job["id"])
                wait_for_end(client, job["id"], 30)


def begin(client: Client, hosts: list[str], module: str = "2024", **options: Any) -> int:
    """A job that has begun and lasts long."""
    params = {"seconds": "60"}
    job: int = client.submit(module, params, hosts, timeout=90, **options)["job"]["id"]
    deadline = time.monotonic() + 20
    while client.job(job)["state"] == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return job


def test_a_job_waits_for_a_lock_and_says_for_which(client: Client) -> None:
    first = begin(client, ["alpha"], locks=["deploy"])
    second = client.submit("2001", {"word": "x"}, ["beta"], locks=["deploy"])["job"]
    assert second == client.job(second["id"])
    why = second["why"]
    assert (why["code"], why["values"]["job"], why["values"]["user"]) == ("lock_held", first, "admin")
    assert why["text"].startswith(f"Lock deploy is held by job {first} (admin, since ")
    assert client.jobs()["jobs"][0]["why"] == why == client.events(second["id"])["job"]["why"]
    other = client.run("2001", ["beta"], {"word": "x"})
    assert other["job"]["state"] == "succeeded"
    client.cancel(first)
    end = wait_for_end(client, second["id"], 30)
    assert (end["state"], end["why"], end["locks"], end["lock_mode"]) == (
        "succeeded",
        None,
        ["deploy"],
        "queue",
    )


def test_of_a_job_that_somebody_may_not_see_they_hear_no_more_than_its_number(
    system: System, client: Client
) -> None:
    first = begin(client, ["alpha"], locks=["deploy"])
    text = f"Lock deploy is held by job {first}."
    with system.client(user="paula") as paula:
        second = paula.submit("2001", {"word": "x"}, ["gamma"], locks=["deploy"])["job"]
        told = {"lock": "deploy", "job": first, "user": None, "since": None}
        for why in (paula.job(second["id"])["why"], paula.events(second["id"])["job"]["why"]):
            assert why == {"code": "lock_held", "text": text, "values": told}
        assert paula.jobs()["jobs"][0]["why"]["text"] == text
        warned = paula.preview("2001", {"word": "x"}, ["gamma"], locks=["deploy"])["warnings"]
        assert warned == [{"code": "lock_held", "text": text, "lock": "deploy", "job": str(first)}]
        with pytest.raises(Locked) as caught:
            paula.submit("2001", {"word": "x"}, ["gamma"], locks=["deploy"], lock_mode="refuse")
        assert (caught.value.details["user"], caught.value.details["since"]) == (None, None)
        paula.cancel(second["id"])


def test_who_would_not_wait_is_refused_or_ends_with_the_reason(client: Client) -> None:
    first = begin(client, ["alpha"], locks=["deploy"])
    warned = client.preview("2001", {"word": "x"}, ["beta"], locks=["deploy"], lock_mode="refuse")
    text = f"Lock deploy is held by job {first}."
    assert [warning["text"] for warning in warned["warnings"]] == [text]
    assert "--lock deploy --lock-mode refuse" in warned["omctl"]
    with pytest.raises(Locked) as caught:
        client.submit("2001", {"word": "x"}, ["beta"], locks=["deploy"], lock_mode="refuse")
    assert caught.value.text == text
    assert caught.value.details["job"] == first
    done = client.run("2001", ["beta"], {"word": "x"}, locks=["deploy"], lock_mode="skip")
    assert (done["job"]["state"], done["job"]["reason"]) == ("failed", text)
    assert [(row["state"], row["reason"]) for row in done["results"]] == [("not_started", text)]


def test_a_module_locks_each_of_its_hosts(client: Client) -> None:
    first = begin(client, ["alpha"], "2041")
    done = client.run("2041", ["alpha", "beta"], {"seconds": "0"}, lock_mode="skip")
    states = {row["host"]: (row["state"], row["reason"]) for row in done["results"]}
    assert states["alpha"] == ("skipped", f"Host is locked by job {first}.")
    assert (states["beta"][0], done["job"]["state"]) == ("ok", "succeeded")
    waits = client.submit("2041", {"seconds": "0"}, ["alpha"])["job"]["id"]
    assert client.job(waits)["why"]["text"].startswith(f"Host alpha is locked by job {first} (admin, since ")
    again = client.rerun(done["job"]["id"], hosts=["beta"])["job"]
    assert again["locks"] == ["host"]


def test_a_person_runs_so_many_jobs_at_once(client: Client, system: System) -> None:
    running = [begin(client, ["alpha"]) for _ in range(3)]
    fourth = client.submit("2001", {"word": "x"}, ["beta"])["job"]["id"]
    assert client.job(fourth)["why"]["text"] == "admin already runs 3 jobs, the most allowed."
    with system.client(user="olga") as olga:
        assert olga.run("2001", ["beta"], {"word": "x"})["job"]["state"] == "succeeded"
    client.cancel(running[0])
    assert wait_for_end(client, fourth, 30)["state"] == "succeeded"


def test_who_watches_hears_what_is_waited_for_when_that_changes(client: Client) -> None:
    first = begin(client, ["alpha"], locks=["a"])
    second = begin(client, ["alpha"], locks=["b"])
    waits = client.submit("2001", {"word": "x"}, ["beta"], locks=["a", "b"])["job"]["id"]
    seen = client.events(waits)
    assert seen["job"]["why"]["values"]["job"] == first
    client.cancel(first)
    until = time.monotonic() + 20
    while seen["job"]["why"]["values"]["job"] != second:
        seen = client.events(waits, seen["event"], wait=25)
    assert time.monotonic() < until


@pytest.mark.parametrize("name", ["", "a b", "host:1", "-x", "x" * 101])
def test_a_lock_has_a_plain_name(client: Client, name: str) -> None:
    with pytest.raises(BadRequest):
        client.submit("2001", {"word": "x"}, ["beta"], locks=[name])
