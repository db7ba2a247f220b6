"""Jobs from a client's call to their durable results: a real master, real workers, the local engine."""

from __future__ import annotations

import base64
import threading
import time
import uuid

import pytest

from omserver_client import Client
from omserver_client.errors import ConfirmationNeeded, IdempotencyConflict, UnknownHost
from omserver_master.store import hosts
from omserver_master.store.engine import begin
from tests.system import System, wait_for_end


def stdout(client: Client, job: int, host_id: int) -> bytes:
    return base64.b64decode(client.output(job, host_id, "stdout")["text"])


def run(client: Client, module: str, hosts: list[str], params: object = None, **options: object) -> dict:
    job = client.submit(module, params, hosts, **options)["job"]["id"]
    return wait_for_end(client, job)


def test_a_job_runs_and_its_results_are_there_for_everybody_later(site: System, admin: Client) -> None:
    job = run(admin, "2001", ["alpha", "beta"], {"word": "hello"})
    assert job["state"] == "succeeded"
    assert job["counts"] == {"ok": 2}
    with site.client() as another:
        rows = another.results(job["id"])["results"]
        assert [(row["host"], row["state"], row["rc"]) for row in rows] == [
            ("alpha", "ok", 0),
            ("beta", "ok", 0),
        ]
        assert stdout(another, job["id"], rows[0]["host_id"]) == b"hello"


def test_return_code_and_both_streams_are_kept(admin: Client) -> None:
    job = run(admin, "2002", ["alpha"], {"code": "3"})
    (row,) = admin.results(job["id"])["results"]
    assert (job["state"], row["state"], row["rc"]) == ("failed", "failed", 3)
    assert stdout(admin, job["id"], row["host_id"]) == b"out\n"
    assert base64.b64decode(admin.output(job["id"], row["host_id"], "stderr")["text"]) == b"err\n"


def test_results_arrive_while_other_hosts_still_work(admin: Client) -> None:
    job = admin.submit("2002", {"seconds": "2"}, ["alpha"])["job"]["id"]
    early = admin.events(job, 0, wait=1)
    assert early["job"]["state"] in ("queued", "running")
    assert wait_for_end(admin, job)["state"] == "succeeded"


def test_events_answer_only_what_changed_since(admin: Client) -> None:
    job = run(admin, "2001", ["alpha"], {"word": "x"})
    everything = admin.events(job["id"], 0)
    assert [row["host"] for row in everything["results"]] == ["alpha"]
    nothing = admin.events(job["id"], everything["event"])
    assert nothing["results"] == []
    assert nothing["event"] == everything["event"]


def test_each_host_goes_its_own_way_through_the_steps(admin: Client) -> None:
    job = run(admin, "2003", ["alpha", "gamma-skip", "delta-bad"])
    rows = {row["host"]: row for row in admin.results(job["id"])["results"]}
    assert {host: row["state"] for host, row in rows.items()} == {
        "alpha": "ok",
        "gamma-skip": "skipped",
        "delta-bad": "failed",
    }
    assert rows["gamma-skip"]["reason"] == "not meant for this one"
    assert rows["delta-bad"]["reason"] == "that name is bad"
    assert stdout(admin, job["id"], rows["alpha"]["host_id"]) == b"first then alpha\n"


def test_a_host_that_does_not_finish_in_time_has_timed_out(admin: Client) -> None:
    began = time.monotonic()
    job = run(admin, "2002", ["alpha", "beta"], {"seconds": "30"})
    assert job["counts"] == {"timed_out": 2}
    assert time.monotonic() - began < 20


def test_a_cancelled_job_says_what_was_proved(admin: Client) -> None:
    job = admin.submit("2002", {"seconds": "30"}, ["alpha"], timeout=60)["job"]["id"]
    while admin.job(job)["counts"] != {"dispatched": 1}:
        time.sleep(0.05)
    assert admin.cancel(job)["cancel_asked"]
    end = wait_for_end(admin, job)
    (row,) = admin.results(job)["results"]
    assert (end["state"], row["state"]) == ("cancelled", "cancelled")
    assert "stopped" in row["reason"].lower()


def test_cancelling_a_finished_job_changes_nothing(admin: Client) -> None:
    job = run(admin, "2001", ["alpha"], {"word": "x"})
    assert admin.cancel(job["id"])["state"] == "succeeded"


def test_the_same_key_is_the_same_job_and_another_request_under_it_is_refused(admin: Client) -> None:
    key = str(uuid.uuid4())
    first = admin.submit("2001", {"word": "x"}, ["alpha"], key=key)
    again = admin.submit("2001", {"word": "x"}, ["alpha"], key=key)
    assert again["repeated"]
    assert again["job"]["id"] == first["job"]["id"]
    with pytest.raises(IdempotencyConflict):
        admin.submit("2001", {"word": "y"}, ["alpha"], key=key)


def test_the_same_key_is_the_same_job_when_nobody_may_ask_for_it_any_more(
    site: System, admin: Client
) -> None:
    key = str(uuid.uuid4())
    first = admin.submit("2001", {"word": "x"}, ["alpha"], key=key)["job"]["id"]
    alpha = next(host for host in admin.hosts()["hosts"] if host["name"] == "alpha")
    with begin(site.engine) as conn:
        hosts.set_state(conn, alpha["id"], "retired")
    try:
        assert admin.submit("2001", {"word": "x"}, ["alpha"], key=key)["job"]["id"] == first
        with pytest.raises(IdempotencyConflict):
            admin.submit("2001", {"word": "y"}, ["alpha"], key=key)
        with pytest.raises(UnknownHost):
            admin.submit("2001", {"word": "x"}, ["alpha"])
    finally:
        with begin(site.engine) as conn:
            hosts.set_state(conn, alpha["id"], alpha["state"])


def test_a_key_belongs_to_one_person(site: System, admin: Client) -> None:
    key = str(uuid.uuid4())
    mine = admin.submit("2001", {"word": "x"}, ["alpha"], key=key)
    with site.client(user="olga") as olga:
        hers = olga.submit("2001", {"word": "x"}, ["alpha"], key=key)
    assert not hers["repeated"]
    assert hers["job"]["id"] != mine["job"]["id"]


def test_one_message_never_makes_two_jobs(admin: Client, site: System) -> None:
    """The last line behind challenge and number: the message's own id is unique among a program's jobs."""
    from omserver_master.access.sessions import who_acts
    from omserver_master.caller import Caller, CallerKey
    from omserver_master.jobs.selection import Named
    from omserver_master.jobs.submission import Rules, Wish, submit
    from omserver_master.registry.pool import ChildPool
    from omserver_master.registry.registry import Registry
    from omserver_master.store import keys
    from omserver_master.store.engine import read

    with read(site.engine) as conn:
        kid = next(row["kid"] for row in keys.list_keys(conn) if row["name"] == "omctl")
    caller = Caller(CallerKey(kid, "omctl", "admin"), "127.0.0.1", session_token=admin.session)
    person = who_acts(site.engine, caller)
    assert person is not None
    wish = Wish("2001", {"word": "x"}, [Named(name="alpha")])
    with ChildPool(1) as pool:
        rules = Rules(Registry(site.settings.modules_dir, pool), 50)
        message = str(uuid.uuid4())
        first = submit(site.engine, rules, person, caller, wish, message, None)
        second = submit(site.engine, rules, person, caller, wish, message, None)
    assert (first.repeated, second.repeated) == (False, True)
    assert first.job_id == second.job_id


def test_many_callers_with_one_key_at_once_make_one_job(site: System) -> None:
    key, ids = str(uuid.uuid4()), []

    def call() -> None:
        with site.client() as client:
            ids.append(client.submit("2001", {"word": "z"}, ["alpha"], key=key)["job"]["id"])

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_more_hosts_than_the_module_likes_need_their_number_said(admin: Client) -> None:
    assert admin.preview("2018", hosts=["alpha", "beta"])["confirm"] == 2
    with pytest.raises(ConfirmationNeeded) as refusal:
        admin.submit("2018", None, ["alpha", "beta"])
    assert refusal.value.details == {"number": 2}
    assert run(admin, "2018", ["alpha", "beta"], confirm=2)["state"] == "succeeded"


def test_a_preview_shows_what_would_run_and_runs_nothing(admin: Client) -> None:
    before = admin.jobs(limit=1)["jobs"][0]["id"]
    shown = admin.preview("2002", {"code": "1"}, ["alpha"])
    assert shown["params"] == {"code": "1", "seconds": "0"}
    assert [host["name"] for host in shown["hosts"]] == ["alpha"]
    assert shown["omctl"] == "omctl run 2002 --host alpha -p code=1 -p seconds=0"
    assert admin.jobs(limit=1)["jobs"][0]["id"] == before


def test_jobs_are_found_by_module_state_person_and_host(admin: Client) -> None:
    job = run(admin, "2002", ["beta"], {"code": "9"})
    found = admin.jobs(module="2002", state="failed", user="admin", host="beta")["jobs"]
    assert found[0]["id"] == job["id"]
    assert job["id"] not in [row["id"] for row in admin.jobs(host="alpha", limit=500)["jobs"]]


def test_runcommands_waits_for_the_end_and_answers_every_host(site: System) -> None:
    with site.client("robot", user=None) as robot:
        answer = robot.runcommands("2001@@10.0.1.1*alpha@@some words@@")
    assert (answer["state"], answer["done"]) == ("succeeded", True)
    assert base64.b64decode(answer["results"][0]["stdout"]) == b"some words"


def test_a_module_of_2014_gets_its_words_and_answers_by_host(admin: Client) -> None:
    job = run(admin, "2017", ["alpha", "beta"], ["you"])
    assert job["state"] == "succeeded"
    rows = admin.results(job["id"])["results"]
    assert stdout(admin, job["id"], rows[0]["host_id"]) == b"hello you"
    assert {row["connection"] for row in rows} == {"direct"}


def test_what_a_module_says_after_all_hosts_is_kept_with_the_job(admin: Client) -> None:
    job = run(admin, "2019", ["alpha", "beta"])
    assert job["counts"] == {"ok": 1, "failed": 1}
    assert "look at beta" in job["reason"]


def test_a_job_goes_on_when_its_caller_is_gone(site: System, admin: Client) -> None:
    with site.client() as caller:
        job = caller.submit("2002", {"seconds": "1"}, ["alpha"])["job"]["id"]
    assert wait_for_end(admin, job)["state"] == "succeeded"


def test_a_connection_that_no_engine_understands_harms_no_other(site: System, admin: Client) -> None:
    site.add_hosts(["strange"], site.add_connection("pigeons", "carrier-pigeon"))
    lost = admin.submit("2001", {"word": "x"}, ["strange"], start_before=5)["job"]["id"]
    good = run(admin, "2001", ["alpha"], {"word": "x"})
    assert good["state"] == "succeeded"
    end = wait_for_end(admin, lost, 30)
    assert (end["state"], end["counts"]) == ("expired", {"not_started": 1})
    assert "carrier-pigeon" in admin.results(lost)["results"][0]["reason"]
