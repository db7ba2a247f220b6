"""Doing a job again where it failed, where nobody answered, where it was not finished, or where one says."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from omserver_client import Client
from omserver_client.errors import (
    BadRequest,
    ConfirmationNeeded,
    Forbidden,
    IdempotencyConflict,
    NotFound,
    UnknownHost,
)
from omserver_master.jobs import again
from omserver_master.jobs.rerun import narrowed
from omserver_master.store import hosts, users
from omserver_master.store.engine import begin
from omserver_master.store.schema import host_results, jobs
from tests.integration.conftest import MODULES
from tests.system import CHECKOUT, System, wait_for_end

RULES: dict[str, Any] = {"bad-*": {"rc": 3}, "slow-*": {"seconds": 600}, "off-*": {"off": "refused"}}
NAMES = ["well-1", "well-2", "bad-1", "off-1", "off-2"]


class Place:
    """A site of invented hosts, of which ``bad-1`` fails and any can be switched off."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "sim.socket"
        files = [str(self._socket), json.dumps(RULES), str(folder / "ledger")]
        command = [sys.executable, "-m", "omserver_master.backends.sim.fleet", *files]
        self._fleet = subprocess.Popen(command, cwd=CHECKOUT)
        while not self._socket.exists():
            assert self._fleet.poll() is None
            time.sleep(0.05)
        folder = folder / "modules"
        folder.mkdir()
        for module in ("2001", "2018"):
            (folder / f"Mid_{module}.py").write_text((MODULES / f"Mid_{module}.py").read_text())
        self.system = System(folder.parent / "home", modules_dir=folder, workers=1)
        way = self.system.add_connection("invented", "sim", {"socket": str(self._socket)})
        self.system.add_hosts([*NAMES, "slow-1"], way)
        self.system.add_hosts(["elsewhere"], way, app="db.domain.com", category="Linux.Db")
        self.system.add_user("olga", "operator", categ_id=1)
        self.system.add_user("victor", "viewer")
        self.system.start()

    def power(self, on: bool, *names: str) -> None:
        """Switch hosts on or off."""
        for name in names:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(self._socket))
                line.sendall(json.dumps({"do": "power", "host": name, "on": on}).encode() + b"\n")
                line.makefile().readline()

    def set_row(self, job: int, host: str, **columns: Any) -> None:
        """Write into a host's row what no test can bring about in a moment."""
        mine = host_results.c.job_id == job, host_results.c.host == host
        with begin(self.system.engine) as conn:
            conn.execute(update(host_results).where(*mine).values(**columns))

    def close(self) -> None:
        self.system.close()
        self._fleet.kill()
        self._fleet.wait(10)


@pytest.fixture(scope="module")
def module_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("rerun"))
    yield place
    place.close()


@pytest.fixture
def place(module_place: Place) -> Place:
    module_place.power(False, "off-1", "off-2")
    return module_place


@pytest.fixture
def admin(place: Place) -> Iterator[Client]:
    with place.system.client() as client:
        yield client


def run(client: Client, names: list[str], module: str = "2001", **options: Any) -> dict[str, Any]:
    params = {"word": "x"} if module == "2001" else None
    return wait_for_end(client, client.submit(module, params, names, **options)["job"]["id"])


def hosts_of(client: Client, job: int) -> dict[str, str]:
    """How each host of a job ended, by name."""
    return {row["host"]: row["state"] for row in client.results(job)["results"]}


def test_a_rerun_does_the_same_on_the_hosts_that_are_meant_and_both_jobs_say_so(
    place: Place, admin: Client
) -> None:
    first = run(admin, NAMES, timeout=1)
    assert hosts_of(admin, first["id"]) == {
        "well-1": "ok",
        "well-2": "ok",
        "bad-1": "failed",
        "off-1": "unreachable",
        "off-2": "unreachable",
    }
    place.power(True, "off-1", "off-2")
    later = {}
    for on, states in (
        ("failed", {"bad-1": "failed"}),
        ("unreachable", {"off-1": "ok", "off-2": "ok"}),
        ("all", hosts_of(admin, first["id"]) | {"off-1": "ok", "off-2": "ok"}),
    ):
        later[on] = wait_for_end(admin, admin.rerun(first["id"], on=on)["job"]["id"])
        assert hosts_of(admin, later[on]["id"]) == states
        assert (later[on]["rerun_of"], later[on]["timeout"], later[on]["params"]) == (
            first["id"],
            1,
            {"word": "x"},
        )
    shown = admin.job(first["id"])["reruns"]
    assert [row["id"] for row in shown] == [row["id"] for row in later.values()]
    assert admin.job(later["failed"]["id"])["reruns"] == []
    (row,) = [row for row in admin.audit(limit=50)["rows"] if row["target"] == f"job {later['failed']['id']}"]
    assert (row["action"], row["detail"].split(";")[0]) == (
        "job.submit",
        f"again after job {first['id']}: module 2001 on 1 host: bad-1",
    )


def test_unfinished_are_those_that_were_not_begun_or_whose_end_nobody_knows(
    place: Place, admin: Client
) -> None:
    first = run(admin, ["well-1", "well-2", "bad-1", "elsewhere"])["id"]
    place.set_row(first, "well-1", state="not_started")
    place.set_row(first, "well-2", state="unknown")
    place.set_row(first, "bad-1", state="cancelled")
    plan = admin.preview_rerun(first, on="unfinished")
    assert [host["name"] for host in plan["hosts"]] == ["well-1", "well-2", "bad-1"]
    assert (plan["confirm"], plan["rerun_of"], plan["omctl"]) == (
        None,
        first,
        f"omctl job rerun {first} --unfinished",
    )
    place.set_row(first, "elsewhere", state="timed_out")
    assert [host["name"] for host in admin.preview_rerun(first, on="failed")["hosts"]] == ["elsewhere"]


def test_work_that_may_have_been_done_is_not_done_again_without_a_word(place: Place, admin: Client) -> None:
    first = run(admin, ["well-1"], "2018")["id"]
    place.set_row(first, "well-1", state="unknown")
    plan = admin.preview_rerun(first, on="unfinished")
    assert plan["confirm"] == 1
    assert [warning["code"] for warning in plan["warnings"]] == ["may_have_run"]
    with pytest.raises(ConfirmationNeeded):
        admin.rerun(first, on="unfinished")
    with pytest.raises(ConfirmationNeeded):
        admin.rerun(first, hosts="well-1")
    assert admin.job(first)["reruns"] == []
    later = wait_for_end(admin, admin.rerun(first, on="unfinished", confirm=1)["job"]["id"])
    assert later["state"] == "succeeded"
    place.set_row(first, "well-1", state="not_started")
    assert admin.preview_rerun(first, on="unfinished")["confirm"] is None


def test_hosts_are_named_for_a_rerun_and_must_have_been_in_the_first_job(admin: Client) -> None:
    first = run(admin, ["well-1", "well-2"])["id"]
    later = wait_for_end(admin, admin.rerun(first, hosts=["WELL-2"])["job"]["id"])
    assert hosts_of(admin, later["id"]) == {"well-2": "ok"}
    with pytest.raises(UnknownHost, match=f"Not a host of job {first}: bad-1"):
        admin.rerun(first, hosts=["well-1", "bad-1"])
    with pytest.raises(BadRequest, match="not both"):
        admin.rerun(first, on="all", hosts=["well-1"])
    with pytest.raises(BadRequest, match="not both"):
        admin.rerun(first)


def test_a_rerun_goes_over_its_hosts_as_the_first_did(place: Place, admin: Client) -> None:
    rollout = {"batch": "1", "canary": ["well-2"], "spread": [["well-1", "well-2"]], "ask": False}
    first = run(admin, ["well-1", "well-2", "bad-1"], rollout=rollout, locks=["deploy"], lock_mode="refuse")[
        "id"
    ]
    plans = [admin.preview_rerun(first, hosts=names)["rollout"] for names in (["well-1"], ["well-2"])]
    assert plans == [{"batch": "1", "ask": False}, {"batch": "1", "canary": ["well-2"], "ask": False}]
    assert admin.preview_rerun(first, on="all")["rollout"] == rollout
    later = wait_for_end(admin, admin.rerun(first, on="failed")["job"]["id"])
    assert later["rollout"] == {"batch": "1", "ask": False}
    assert (later["locks"], later["lock_mode"]) == (["deploy"], "refuse")


def test_a_rollout_for_some_hosts_says_nothing_of_others() -> None:
    names = {1: "a", 2: "b"}
    frozen = {
        "canary": ["C"],
        "first": [3],
        "spread": [["a", "c"]],
        "groups": [[1, 3]],
        "wait": 5,
        "ask": True,
    }
    assert narrowed(frozen, names) is None
    assert narrowed(frozen | {"batch": "2"}, names) == {"batch": "2", "wait": 5, "ask": True}
    assert narrowed({"spread": "app", "groups": [[1, 2, 3], [3, 4]]}, names) == {
        "spread": "app",
        "groups": [[1, 2]],
    }
    assert narrowed({"verify": "tcp:22"}, names) == {"verify": "tcp:22"}
    assert narrowed(None, names) is None


def test_nothing_to_do_again_and_work_under_way_are_said(place: Place, admin: Client) -> None:
    first = run(admin, ["well-1", "bad-1"])["id"]
    with pytest.raises(BadRequest, match=f"Job {first} has no host that is unreachable"):
        admin.rerun(first, on="unreachable")
    place.set_row(first, "well-1", state="dispatched")
    for wanted in ({"on": "all"}, {"hosts": ["well-1"]}):
        with pytest.raises(BadRequest, match=f"Job {first} is not done on well-1"):
            admin.rerun(first, **wanted)
    assert len(admin.preview_rerun(first, on="failed")["hosts"]) == 1


def test_a_host_that_is_gone_is_named_and_left_out(place: Place, admin: Client) -> None:
    first = run(admin, ["well-1", "well-2"])["id"]
    ids = {row["host"]: row["host_id"] for row in admin.results(first)["results"]}
    try:
        with begin(place.system.engine) as conn:
            hosts.set_state(conn, ids["well-1"], "retired")
        plan = admin.preview_rerun(first, on="all")
        assert [host["name"] for host in plan["hosts"]] == ["well-2"]
        assert [(each["code"], each["host"]) for each in plan["warnings"]] == [("gone", "well-1")]
        with pytest.raises(UnknownHost, match="well-1"):
            admin.rerun(first, hosts=["well-1", "well-2"])
    finally:
        with begin(place.system.engine) as conn:
            hosts.set_state(conn, ids["well-1"], "in_service")


def test_a_module_that_was_changed_meanwhile_is_warned_about(place: Place, admin: Client) -> None:
    first = run(admin, ["well-1"])["id"]
    assert admin.preview_rerun(first, on="all")["warnings"] == []
    file = place.system.settings.modules_dir / "Mid_2001.py"
    before = file.read_text()
    try:
        file.write_text(before + "\n# another line\n")
        (warning,) = admin.preview_rerun(first, on="all")["warnings"]
        assert warning["text"] == f"Module 2001 was changed since job {first} ran it."
    finally:
        file.write_text(before)


def test_a_repeated_request_is_the_same_job_even_if_no_host_fits_any_more(
    place: Place, admin: Client
) -> None:
    first = run(admin, ["bad-1"])["id"]
    one = admin.rerun(first, on="failed", key="the-same")
    place.set_row(first, "bad-1", state="ok")
    two = admin.rerun(first, on="failed", key="the-same")
    assert (two["job"]["id"], two["repeated"]) == (one["job"]["id"], True)
    with pytest.raises(IdempotencyConflict):
        admin.rerun(first, on="unfinished", key="the-same")


def test_a_rerun_needs_the_same_rights_as_a_run(place: Place, admin: Client) -> None:
    mixed = run(admin, ["well-1", "elsewhere"])["id"]
    hidden = run(admin, ["elsewhere"])["id"]
    with place.system.client(user="olga") as olga:
        assert [host["name"] for host in olga.preview_rerun(mixed, on="all")["hosts"]] == ["well-1"]
        with pytest.raises(NotFound):
            olga.rerun(hidden, on="all")
    with place.system.client(user="victor") as victor, pytest.raises(Forbidden):
        victor.rerun(mixed, on="all")
    assert admin.job(mixed)["reruns"] == []


# -- again by itself, until a time


def soon() -> float:
    return time.time() + 3600


def off_job(place: Place, client: Client, host: str = "well-1") -> int:
    """A job that is over, whose host was off and is to be tried again; its wait is over too."""
    job = client.submit("2001", {"word": "x"}, [host], until=soon())["job"]["id"]
    if host.startswith("slow-"):
        client.cancel(job)
    wait_for_end(client, job)
    place.set_row(job, host, state="unreachable")
    with begin(place.system.engine) as conn:
        conn.execute(update(jobs).where(jobs.c.id == job).values(state="failed", cancel_asked=False))
    make_due(place, job)
    return int(job)


def make_due(place: Place, job: int) -> None:
    """Let the wait after *job* be over."""
    with begin(place.system.engine) as conn:
        conn.execute(update(jobs).where(jobs.c.id == job).values(finished=time.time() - 3600))


def tried(place: Place, admin: Client, first: int) -> dict[str, Any]:
    """The next try after *first*, once it is over."""
    before = len(admin.job(first)["again"]["tries"])
    again.try_again_all(place.system.engine)
    tries = admin.job(first)["again"]["tries"]
    assert len(tries) == before + 1
    return wait_for_end(admin, tries[-1])


def test_hosts_that_were_off_are_tried_until_they_answer(place: Place, admin: Client) -> None:
    first = run(admin, ["well-1", "off-1", "off-2"], until=soon(), timeout=1, locks=["nightly"])["id"]
    make_due(place, first)
    one = tried(place, admin, first)
    assert hosts_of(admin, one["id"]) == {"off-1": "unreachable", "off-2": "unreachable"}
    assert (one["rerun_of"], one["params"], one["until"]) == (first, {"word": "x"}, None)
    assert one["locks"] == ["nightly"]
    place.power(True, "off-1", "off-2")
    make_due(place, one["id"])
    two = tried(place, admin, first)
    assert hosts_of(admin, two["id"]) == {"off-1": "ok", "off-2": "ok"}
    place.set_row(two["id"], "off-2", state="not_started")
    make_due(place, two["id"])
    three = tried(place, admin, first)
    assert hosts_of(admin, three["id"]) == {"off-2": "ok"}
    again.try_again_all(place.system.engine)
    shown = admin.job(first)["again"]
    assert (shown["off"], shown["of"], shown["over"], shown["next"]) == (0, 2, True, None)
    assert shown["tries"] == [one["id"], two["id"], three["id"]]


def test_a_try_waits_longer_each_time_and_never_goes_beside_another(place: Place, admin: Client) -> None:
    first = admin.job(off_job(place, admin))
    with begin(place.system.engine) as conn:
        conn.execute(update(jobs).where(jobs.c.id == first["id"]).values(finished=time.time()))
    first = admin.job(first["id"])
    again.try_again_all(place.system.engine)
    shown = admin.job(first["id"])["again"]
    assert (shown["tries"], round(shown["next"] - first["finished"])) == ([], again.WAITS[0])
    make_due(place, first["id"])
    for _ in range(3):
        again.try_again_all(place.system.engine)
    (job,) = admin.job(first["id"])["again"]["tries"]
    end = wait_for_end(admin, job)
    place.set_row(job, "well-1", state="unreachable")
    assert round(admin.job(first["id"])["again"]["next"] - end["finished"]) == again.WAITS[1]


def test_two_workers_at_once_make_one_try(place: Place, admin: Client) -> None:
    first = off_job(place, admin)
    start = threading.Barrier(4)

    def sweep() -> None:
        start.wait(10)
        again.try_again_all(place.system.engine)

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(admin.job(first)["again"]["tries"]) == 1


def test_a_worker_does_it_by_itself(place: Place, admin: Client) -> None:
    first = off_job(place, admin)
    deadline = time.monotonic() + 20
    while not (tries := admin.job(first)["again"]["tries"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert wait_for_end(admin, tries[0])["state"] == "succeeded"
    (row,) = [row for row in admin.audit(limit=20)["rows"] if row["target"] == f"job {tries[0]}"]
    assert (row["user"], row["detail"]) == ("admin", f"try 1 after job {first}: module 2001 on well-1")


@pytest.mark.parametrize("which", ["the first job", "the try"])
def test_a_cancel_ends_the_tries(place: Place, admin: Client, which: str) -> None:
    first = off_job(place, admin, "slow-1")
    again.try_again_all(place.system.engine)
    (job,) = admin.job(first)["again"]["tries"]
    admin.cancel(first if which == "the first job" else job)
    wait_for_end(admin, job)
    place.set_row(job, "slow-1", state="not_started")
    make_due(place, job)
    again.try_again_all(place.system.engine)
    shown = admin.job(first)["again"]
    assert (shown["tries"], shown["over"], shown["off"]) == ([job], True, 1)
    assert admin.job(first)["state"] == "failed"


def test_nothing_is_tried_after_its_time_or_for_who_may_not_run_it_any_more(
    place: Place, admin: Client
) -> None:
    late = off_job(place, admin)
    with begin(place.system.engine) as conn:
        conn.execute(update(jobs).where(jobs.c.id == late).values(until=time.time() - 1))
    name = "gone-soon"
    user = place.system.add_user(name, "operator")
    with place.system.client(user=name) as client:
        forbidden = off_job(place, client)
    with begin(place.system.engine) as conn:
        users.set_disabled(conn, user, True)
    again.try_again_all(place.system.engine)
    for job in (late, forbidden):
        shown = admin.job(job)["again"]
        assert (shown["tries"], shown["over"]) == ([], True)


def test_what_somebody_did_again_meanwhile_counts(place: Place, admin: Client) -> None:
    first = off_job(place, admin)
    wait_for_end(admin, admin.rerun(first, on="unreachable")["job"]["id"])
    again.try_again_all(place.system.engine)
    shown = admin.job(first)["again"]
    assert (shown["tries"], shown["off"], shown["over"]) == ([], 0, True)


def test_until_is_a_time_to_come_and_for_work_that_may_be_repeated(admin: Client) -> None:
    for wrong in (time.time() - 1, time.time() + 40 * 86_400):
        with pytest.raises(BadRequest, match="next 31 days"):
            admin.submit("2001", {"word": "x"}, ["well-1"], until=wrong)
    with pytest.raises(BadRequest, match="never repeated by itself"):
        admin.submit("2018", None, ["well-1"], until=soon())
