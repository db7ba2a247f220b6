"""Jobs that go over their hosts in batches: a real master and worker, invented hosts that keep a ledger."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import update

from omserver_client import BadRequest, Client, Forbidden
from omserver_master.jobs.claiming import MOST_JOBS
from omserver_master.store import connections, grants, hosts
from omserver_master.store.engine import begin
from omserver_master.store.schema import jobs
from tests.integration.conftest import MODULES
from tests.system import CHECKOUT, System, wait_for_end

RULES = {"slow-*": {"seconds": 1.5}, "bad-*": {"rc": 1}, "quick-*": {}}
QUICK = [f"quick-{number}" for number in range(1, 9)]


class Place:
    """One worker, and invented hosts that outlive it and keep a ledger of what they were given."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "ledger"
        socket = folder / "sim.socket"
        files = [str(socket), json.dumps(RULES), str(self.ledger)]
        command = [sys.executable, "-m", "omserver_master.backends.sim.fleet", *files]
        self.fleet = subprocess.Popen(command, cwd=CHECKOUT)
        until(socket.exists)
        self._told = folder / "told"
        program = folder / "tell"
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$(cat)\" >>{self._told}\n")
        program.chmod(0o700)
        self.system = System(folder / "home", modules_dir=MODULES, workers=1, on_pause=str(program))
        self.system.add_user("olga", "operator")
        way = self.system.add_connection("invented", "sim", {"socket": str(socket)})
        self.system.add_hosts(QUICK, way)
        self.system.add_hosts(["slow-1", "slow-2", "bad-1", "bad-2"], way, app="db.domain.com")
        with begin(self.system.engine) as conn:
            connections.link_host(
                conn, hosts.add_host(conn, "quick-here", lip="127.0.0.1"), way, "quick-here"
            )
        self.system.start()
        self._read = 0

    def close(self) -> None:
        self.system.close()
        self.fleet.kill()
        self.fleet.wait(10)

    def kill_worker(self) -> None:
        children = psutil.Process(self.system.pid).children()
        (worker,) = [child for child in children if "worker" in " ".join(child.cmdline())]
        worker.kill()

    def taken(self) -> list[str]:
        """The hosts in the order in which they took work, since the test began."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [line.split()[-1] for line in lines[self._read :]]

    def told(self, job: int) -> list[tuple[str | None, str, dict[str, int]]]:
        """What the program of ON_PAUSE was told of *job*: who, why, how many hosts."""
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        found = [told for line in lines if (told := json.loads(line))["job"] == job]
        return [(told["paused_by"], told["reason"], told["hosts"]) for told in found]

    def forget(self) -> None:
        self._read += len(self.taken())


@pytest.fixture(scope="module")
def whole_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("rollout"))
    yield place
    place.close()


@pytest.fixture
def place(whole_place: Place) -> Place:
    whole_place.forget()
    return whole_place


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with place.system.client() as client:
        yield client


def until(there: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def begin_job(client: Client, names: list[str], module: str = "2002", **rollout: Any) -> int:
    job = client.submit(module, {}, names, timeout=30, rollout=rollout)["job"]
    assert set(rollout) <= set(job["rollout"] or ())
    return int(job["id"])


def states(client: Client, job: int) -> dict[str, str]:
    return {row["host"]: row["state"] for row in client.results(job)["results"]}


def wait_for_state(client: Client, job: int, state: str) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: (row := client.job(job))["state"] == state and row)
    return found


def test_the_next_batch_begins_when_the_one_before_has_ended(place: Place, client: Client) -> None:
    job = begin_job(client, ["slow-1", *QUICK[:5]], batch="2")
    until(lambda: "quick-2" in place.taken())
    reason = until(lambda: client.job(job)["reason"])
    assert reason in ("Batch 2 of 3 starts when batch 1 ends.", "Batch 3 of 3 starts when batch 2 ends.")
    assert wait_for_end(client, job)["counts"] == {"ok": 6}
    order = place.taken()
    assert [set(order[start : start + 2]) for start in (0, 2, 4)] == [
        {"quick-1", "quick-2"},
        {"quick-3", "quick-4"},
        {"quick-5", "slow-1"},
    ]


def test_a_percentage_and_a_wait_between_batches_is_told_as_a_time(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK, batch="50%", wait=2)
    reason = until(lambda: (r := client.job(job)["reason"]).endswith("UTC.") and r)
    assert reason.startswith("Batch 2 of 2 starts at 20")
    assert len(place.taken()) == 4
    assert wait_for_end(client, job)["counts"] == {"ok": 8}


def test_the_canary_goes_first_and_the_job_asks_before_it_goes_on(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK[:4], canary=["quick-3"], ask=True)
    asked = wait_for_state(client, job, "paused")
    assert asked["reason"] == "Waits for a go-ahead after the canary."
    assert (asked["rollout"], asked["pause_asked"]) == ({"canary": ["quick-3"], "ask": True}, True)
    assert place.taken() == ["quick-3"]
    client.resume_job(job)
    end = wait_for_end(client, job)
    assert (end["state"], end["reason"], end["counts"]) == ("succeeded", "", {"ok": 4})
    newest = client.audit(limit=1)["rows"][0]
    assert (newest["action"], newest["target"], newest["user"]) == ("job.resume", f"job {job}", "admin")


def test_a_canary_that_fails_stops_the_rest(place: Place, client: Client) -> None:
    job = begin_job(client, [*QUICK[:4], "bad-1"], canary=["bad-1"])
    end = wait_for_end(client, job)
    assert (end["state"], end["reason"]) == ("failed", "Stopped: a canary ended failed.")
    assert end["counts"] == {"failed": 1, "not_started": 4}
    assert place.taken() == ["bad-1"]


def test_after_too_many_failures_no_other_host_begins(place: Place, client: Client) -> None:
    job = begin_job(client, [*QUICK, "bad-1", "bad-2"], batch="1", canary=["bad-1", "bad-2"], stop_after="2")
    end = wait_for_end(client, job)
    assert (end["state"], end["reason"]) == ("failed", "Stopped after 2 failures (limit 2).")
    assert end["counts"] == {"failed": 2, "not_started": 8}
    row = client.results(job, state="not_started", limit=1)["results"][0]
    assert row["reason"] == "Stopped after 2 failures (limit 2)."
    assert sorted(place.taken()) == ["bad-1", "bad-2"]


def test_a_job_is_paused_and_resumed_by_hand(place: Place, client: Client) -> None:
    job = begin_job(client, ["slow-1", "slow-2", *QUICK[:2]], canary=["slow-1"])
    until(place.taken)
    assert client.pause_job(job)["pause_asked"]
    paused = wait_for_state(client, job, "paused")
    assert (paused["reason"], paused["paused_by"]) == ("Paused by admin.", "admin")
    until(lambda: states(client, job)["slow-1"] == "ok")  # what is at work goes on
    time.sleep(0.6)  # longer than a turn of the run
    assert place.taken() == ["slow-1"]
    assert client.jobs(state="paused")["jobs"][0]["id"] == job
    client.resume_job(job)
    assert wait_for_end(client, job)["counts"] == {"ok": 4}
    actions = [row["action"] for row in client.audit(limit=2)["rows"]]
    assert actions == ["job.resume", "job.pause"]


def test_somebody_is_told_of_a_question_and_of_a_pause_by_hand(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK[:4], canary=["quick-3"], ask=True)
    asks = None, "Waits for a go-ahead after the canary.", {"open": 3, "ended": 1}
    until(lambda: place.told(job) == [asks])
    client.pause_job(job)
    until(lambda: place.told(job)[1:] == [("admin", "Paused by admin.", {"open": 3, "ended": 1})])
    client.cancel(job)
    wait_for_end(client, job)


def test_a_paused_job_can_be_cancelled(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK[:3], canary=["quick-1"], ask=True)
    wait_for_state(client, job, "paused")
    client.cancel(job)
    end = wait_for_end(client, job)
    assert (end["state"], end["counts"]) == ("cancelled", {"ok": 1, "not_started": 2})
    assert not client.resume_job(job)["pause_asked"]
    assert client.job(job)["state"] == "cancelled"


def test_paused_jobs_take_nobodys_place(place: Place, client: Client) -> None:
    waiting = [
        begin_job(client, ["quick-1", "quick-2"], canary=["quick-1"], ask=True) for _ in range(MOST_JOBS)
    ]
    for job in waiting:
        wait_for_state(client, job, "paused")
    assert wait_for_end(client, begin_job(client, ["quick-3"]))["state"] == "succeeded"
    place.system.add_user("wim", "viewer", host_id=client.hosts(search="bad-1")["hosts"][0]["id"])
    with place.system.client(user="wim") as wim:  # sees none of those hosts
        assert wim.call("auth.whoami", {"paused": True})["paused"] == 0
    assert client.call("auth.whoami", {"paused": True})["paused"] == MOST_JOBS
    assert "paused" not in client.whoami()
    for job in waiting:
        client.cancel(job)
    assert {wait_for_end(client, job)["state"] for job in waiting} == {"cancelled"}


def test_a_pause_that_nobody_ends_ends_the_job(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK[:3], canary=["quick-1"], ask=True, pause_limit=1)
    end = wait_for_end(client, job)
    assert end["reason"] == "Stopped: nobody gave the go-ahead within 1 s."
    assert (end["state"], end["counts"]) == ("failed", {"ok": 1, "not_started": 2})


def test_a_job_that_has_begun_does_not_expire_between_batches(place: Place, client: Client) -> None:
    rollout = {"batch": "1", "wait": 2}
    job = client.submit("2002", {}, QUICK[:2], start_before=1, rollout=rollout)["job"]["id"]
    assert wait_for_end(client, job)["counts"] == {"ok": 2}


def test_two_of_one_application_are_never_in_one_batch(place: Place, client: Client) -> None:
    job = begin_job(client, ["quick-1", "quick-2", "slow-1", "slow-2"], spread="app")
    assert wait_for_end(client, job)["counts"] == {"ok": 4}
    assert [set(place.taken()[:2]), set(place.taken()[2:])] == [{"quick-1", "slow-1"}, {"quick-2", "slow-2"}]


def test_two_with_the_same_label_are_never_in_one_batch(place: Place, client: Client) -> None:
    client.set_hosts(["quick-1", "quick-2"], labels="pair=a, rack=r1")
    client.set_hosts(["quick-3"], labels="pair=b")
    job = begin_job(client, QUICK[:3], spread="label:pair")
    assert wait_for_end(client, job)["counts"] == {"ok": 3}
    assert set(place.taken()[:2]) == {"quick-1", "quick-3"}
    client.set_hosts(["quick-2"], labels="pair=")
    assert client.host("quick-2")["labels"] == {"rack": "r1"}
    with pytest.raises(BadRequest, match="label"):
        client.preview("2002", {}, QUICK[:2], rollout={"spread": "label:"})
    with pytest.raises(BadRequest, match="none of these hosts has the label pari") as refused:
        client.preview("2002", {}, QUICK[:2], rollout={"spread": "label:pari"})
    assert refused.value.details["field"] == "rollout.spread"
    apart = {"spread": "label:pair"}
    assert client.preview("2002", {}, ["quick-1", "quick-3"], rollout=apart)["rollout"] == apart
    with pytest.raises(BadRequest, match="spread keeps no two of these hosts apart") as refused:
        client.preview("2002", {}, ["quick-1", "quick-3"], rollout={**apart, "ask": True})
    assert refused.value.details["field"] == "rollout.ask"


def test_two_of_one_named_pair_are_never_in_one_batch(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK[:3], spread=[["quick-1", "quick-2"]])
    assert wait_for_end(client, job)["counts"] == {"ok": 3}
    assert set(place.taken()[:2]) == {"quick-1", "quick-3"}


class Health(HTTPServer):
    """Answers 503 a few times, then 200; counts."""

    def __init__(self, bad: int) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.bad, self.asked = bad, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answers(BaseHTTPRequestHandler):
    server: Health

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(503 if self.server.asked <= self.server.bad else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


def test_a_host_is_ok_once_it_has_answered_well_so_many_times(place: Place, client: Client) -> None:
    with Health(1) as health:
        url = f"http://{{ip}}:{health.server_port}/health?x=1"
        names = ["quick-here", "quick-1"]
        job = begin_job(client, names, canary=["quick-here"], verify=url, verify_times=2, verify_within=6)
        until(lambda: len(place.taken()) == 2)
        assert health.asked >= 3  # only then the next batch began
        assert states(client, job)["quick-here"] == "ok"
        client.cancel(job)
        health.shutdown()
    wait_for_end(client, job)


def test_a_host_that_does_not_answer_well_has_failed(place: Place, client: Client) -> None:
    with Health(99) as health:
        url = f"http://{{ip}}:{health.server_port}/"
        job = begin_job(client, ["quick-here", "quick-1"], canary=["quick-here"], verify=url, verify_within=1)
        end = wait_for_end(client, job)
        health.shutdown()
    rows = {row["host"]: row for row in client.results(job)["results"]}
    assert (end["state"], rows["quick-1"]["state"]) == ("failed", "not_started")
    assert (rows["quick-here"]["state"], rows["quick-here"]["rc"]) == ("failed", 0)
    assert rows["quick-here"]["reason"].startswith("Not verified within 1 s: http://127.0.0.1:")
    assert rows["quick-here"]["reason"].endswith("it answered 503, not 200")


def test_a_worker_that_dies_in_the_second_batch_loses_and_doubles_nothing(
    place: Place, client: Client
) -> None:
    names = [*QUICK[:4], "slow-1", "slow-2"]
    job = begin_job(client, names, batch="1", canary=["quick-1", "quick-2"], spread=[["quick-3", "slow-1"]])
    until(lambda: "slow-1" in place.taken() or "slow-2" in place.taken())
    place.kill_worker()
    end = wait_for_end(client, job, 60)
    assert (end["state"], end["counts"]) == ("succeeded", {"ok": 6})
    assert sorted(place.taken()) == sorted(names)


def test_a_worker_that_dies_while_the_job_is_paused_changes_nothing(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK[:4], canary=["quick-1"], ask=True, batch="1")
    wait_for_state(client, job, "paused")
    with begin(place.system.engine) as conn:  # many workers were restarted meanwhile
        conn.execute(update(jobs).where(jobs.c.id == job).values(attempt=20))
    place.kill_worker()
    until(lambda: any(worker["alive"] and worker["jobs"] for worker in client.status()["workers"]))
    asked = client.job(job)
    assert (asked["state"], asked["reason"]) == ("paused", "Waits for a go-ahead after the canary.")
    assert place.taken() == ["quick-1"]
    client.resume_job(job)
    assert wait_for_end(client, job)["counts"] == {"ok": 4}
    assert sorted(place.taken()) == QUICK[:4]
    assert len(place.told(job)) == 1  # who took it up did not tell again


@pytest.mark.parametrize(
    ("rollout", "field"),
    [
        ({"batch": "0"}, "rollout.batch"),
        ({"canary": ["nobody"]}, "rollout.canary"),
        ({"ask": True}, "rollout.ask"),
        ({"verify": "http://10.0.0.9/"}, "rollout.verify"),
        ({"spread": [["quick-1", "elsewhere"]]}, "rollout.spread"),
        ({"spread": "app", "canary": ["quick-1", "quick-2"]}, "rollout.canary"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(
    client: Client, rollout: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        client.preview("2002", {}, QUICK[:2], rollout=rollout)
    assert refusal.value.details["field"] == field


def test_a_module_that_reaches_its_hosts_by_itself_has_no_batches(client: Client) -> None:
    with pytest.raises(BadRequest, match="reaches its hosts by itself"):
        client.preview("2017", [], QUICK[:2], rollout={"batch": "1"})


def test_a_module_says_how_its_jobs_go_and_only_an_admin_may_be_laxer(place: Place, client: Client) -> None:
    assert client.preview("2040", {}, QUICK)["rollout"] == {"batch": "2", "stop_after": "1"}
    line = client.preview("2040", {}, QUICK[:1], rollout={"batch": "1", "ask": True})["omctl"]
    assert line == "omctl run 2040 --host quick-1 --batch 1 --stop-after 1 --ask"
    assert client.preview("2040", {}, QUICK, rollout={"batch": "4"})["rollout"]["batch"] == "4"
    with place.system.client(user="olga") as olga:
        assert olga.preview("2040", {}, QUICK, rollout={"batch": "1"})["rollout"]["batch"] == "1"
        with pytest.raises(Forbidden, match="batch is laxer than module 2040 says"):
            olga.preview("2040", {}, QUICK, rollout={"batch": "4"})


def test_whoever_may_not_run_a_job_may_not_resume_it(place: Place, client: Client) -> None:
    job = begin_job(client, QUICK[:2], canary=["quick-1"], ask=True)
    wait_for_state(client, job, "paused")
    place.system.add_user("sam", "operator", module="1001")
    with place.system.client(user="sam") as sam, pytest.raises(Forbidden):
        sam.resume_job(job)
    client.cancel(job)
    wait_for_end(client, job)


def test_whoever_may_no_longer_run_a_job_of_their_own_may_hold_it_but_not_resume_it(
    place: Place, client: Client
) -> None:
    tom = place.system.add_user("tom", "operator")
    with place.system.client(user="tom") as owner:
        job = begin_job(owner, QUICK[:2], canary=["quick-1"], ask=True)
        wait_for_state(client, job, "paused")
        with begin(place.system.engine) as conn:
            for grant in grants.grants_of(conn, tom):
                grants.remove_grant(conn, grant["id"])
            grants.add_grant(conn, tom, "operator", module="1001")
        owner.pause_job(job)
        with pytest.raises(Forbidden):
            owner.resume_job(job)
    client.cancel(job)
    wait_for_end(client, job)
