"""What hosts answer when their job is over: kept, and marked as late. Nothing is sent for that."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from people import add_person, furnish
from sqlalchemy import Engine, update

from omserver_master.backends.base import Backend, Flight, Reachability
from omserver_master.contract.work import Answer
from omserver_master.jobs.board import JobHost
from omserver_master.jobs.late import NEVER_SENT, NO_FURTHER, NOT_VERIFIED, Asking, LateAnswers, LateRun
from omserver_master.jobs.ports import Way
from omserver_master.registry.pool import ChildPool
from omserver_master.store import clock, jobs, leases, modules, outputs, results, schema
from omserver_master.store.engine import begin, read
from omserver_master.store.results import HostResult
from omserver_master.store.sitekey import SiteKey

STEPS = '''"""Two steps."""

from pathlib import Path

from omserver_master import Module, Run


class Modulehandle(Module):
    repeat = "once"

    def steps(self, host):
        answer = yield Run("first")
        if answer.rc == 0:
            yield Run("second")

    def after(self, job):
        Path(__file__).with_name("after").touch()
'''
#: What this host says when it is asked again; web-01 and so on are the hosts of `furnish`.
SAYS = {
    "web-01": Answer("done", 3, b"out\xff", b"bad\n"),
    "web-02": Answer("done", 0, b"first"),
    "shop-01": Answer("timed_out", reason="It works still."),
    "db-01": Answer("not_started", reason="It never came."),
}


class Asked(Backend):
    """Knows what became of it all, and takes nothing more."""

    kind = "played"

    def __init__(self) -> None:
        super().__init__("played", {})

    def probe(self) -> Reachability:
        return Reachability(True)

    def _dispatch(self, flight: Flight) -> None:
        raise AssertionError("something was sent")

    def _cancel(self, handle: str, hosts: Any) -> Mapping[str, Any]:
        raise AssertionError("something was stopped")

    def _collect(self, flight: Flight) -> None:
        assert flight.handle == "jid-1"
        for host in list(flight.hosts.values()):
            flight.answer(host.id, SAYS[host.remote_id])


class Roads:
    """One way to all hosts, which is up."""

    def __init__(self) -> None:
        self._backend = Asked()

    def ids(self) -> dict[str, int]:
        return {"played": 1}

    def choose(self, host: JobHost, but: Any = ()) -> Way:
        return Way(1, self._backend)

    def backend(self, connection_id: int) -> Backend:
        return self._backend

    def why_down(self, connection_id: int) -> str:
        return ""


class Site:
    """A job that is over: of the first four hosts nobody knows the end, the fifth is well."""

    def __init__(self, engine: Engine, pool: ChildPool, key: SiteKey, folder: Path) -> None:
        self.engine, self.key, self.folder = engine, key, folder
        self.told: list[int] = []
        self.asking = Asking(engine, key, pool, Roads(), folder, self.told.append)  # type: ignore[arg-type]
        sha256 = hashlib.sha256(STEPS.encode()).hexdigest()
        with begin(engine) as conn:
            self.hosts = furnish(conn).hosts
            user = add_person(conn, "alice", "operator")
            modules.keep_version(conn, "2001", sha256, STEPS)
            row = {
                "module": "2001", "module_sha256": sha256, "params": {}, "user_id": user, "user": "alice",
                "key_kid": "k" * 16, "message_id": "m", "request_hash": "b" * 64, "repeat": "once",
                "timeout": 60, "start_within": 60.0,
            }  # fmt: skip
            members = [{"host_id": id_, "host": name, "ip": ""} for name, id_ in self.hosts.items()]
            self.job: int = jobs.add_job(conn, row, members)["id"]
            leases.claim_this(conn, self.job, "w", 30)
            ids = list(self.hosts.values())
            names = {id_: name for name, id_ in self.hosts.items()}
            results.mark_dispatched(conn, self.job, ids, "jid-1", "played", 1, remote_ids=names)
            states = ["unknown", "timed_out", "timed_out", "unreachable", "ok"]
            ends = [HostResult(id_, state, "Why.") for id_, state in zip(ids, states, strict=True)]
            results.store_results(conn, self.job, 1, ends)
            jobs.finish_job(conn, self.job, 1, "failed")

    def set(self, **values: Any) -> None:
        with begin(self.engine) as conn:
            conn.execute(update(schema.jobs).where(schema.jobs.c.id == self.job).values(**values))

    def rows(self) -> dict[str, tuple[str, str, bool]]:
        with read(self.engine) as conn:
            found = results.results(conn, self.job)
        return {row["host"]: (row["state"], row["reason"], row["late"]) for row in found}


@pytest.fixture(scope="module")
def pool() -> Iterator[ChildPool]:
    with ChildPool(1) as pool:
        yield pool


@pytest.fixture
def site(engine: Engine, pool: ChildPool, site_key: SiteKey, tmp_path: Path) -> Site:
    return Site(engine, pool, site_key, tmp_path)


def test_what_came_late_is_kept_and_marked_and_nothing_more_is_begun(site: Site) -> None:
    assert site.asking.ask(site.job)
    assert site.rows() == {
        "web-01": ("failed", "bad", True),
        "web-02": ("failed", NO_FURTHER.format(1), True),
        "shop-01": ("timed_out", "Why.", False),
        "db-01": ("not_started", NEVER_SENT, True),
        "new-01": ("ok", "Why.", False),
    }
    with read(site.engine) as conn:
        row = results.result_row(conn, site.job, site.hosts["web-01"])
        assert row is not None
        assert outputs.get_output(conn, site.key, row["stdout_id"]) == b"out\xff"
        job = jobs.job_row(conn, site.job)
        assert job is not None
        assert (job["state"], job["attempt"]) == ("failed", 1)
        assert row["event"] == job["event"], "who watches the job hears of it"
    assert site.told == [site.job]


def test_what_a_module_does_after_a_job_is_not_done_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LateRun, "_end_code", lambda _: time.sleep(0.3))
    for name in SAYS:
        monkeypatch.setitem(SAYS, name, Answer("done", 3))
    site.asking.ask(site.job)
    assert [row[0] for row in site.rows().values()] == ["failed"] * 4 + ["ok"]
    assert not (site.folder / "after").exists()


def test_of_a_cancelled_job_what_was_stopped_is_called_that(site: Site) -> None:
    site.set(cancel_asked=True)
    site.asking.ask(site.job)
    assert site.rows()["web-01"] == ("cancelled", "Stopped by the cancel.", True)


def test_what_nobody_verified_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAYS, "web-01", Answer("done", 0))
    site.set(rollout={"verify": "tcp:22"})
    source = STEPS.replace("if answer.rc == 0", "if answer.rc == 9")
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    with begin(site.engine) as conn:
        modules.keep_version(conn, "2001", sha256, source)
    site.set(module_sha256=sha256)
    site.asking.ask(site.job)
    assert site.rows()["web-01"] == ("ok", NOT_VERIFIED, True)


def test_jobs_are_asked_for_again_only_while_it_is_worth_it(site: Site) -> None:
    with read(site.engine) as conn:
        now = clock.now(conn)
        assert results.uncertain_since(conn, now - 60) == [site.job]
        assert results.uncertain_since(conn, now + 60) == []
    site.set(direct=True)
    assert not site.asking.ask(site.job), "its code reached the hosts by itself"
    assert not site.asking.ask(site.job + 1), "there is no such job"


def test_each_job_is_asked_for_some_times_and_one_that_was_over_before_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("omserver_master.jobs.late.MOMENTS", (-2.0, -1.0, 600.0))
    late = LateAnswers(site.engine, lambda job_id: not asked.append(job_id))
    late.look()
    late.look()
    assert asked == [site.job], "moments that have passed count once"
    monkeypatch.setattr("omserver_master.jobs.late.MOMENTS", (-1.0,))
    late.note(99)
    late.look()
    late.look()
    assert asked == [site.job, 99]
