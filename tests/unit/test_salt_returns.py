"""What is believed of an event on the Salt bus and of a minion's return. No Salt is needed for it."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from omserver_master.backends import Target, make_backend
from omserver_master.backends.salt.bus import SaltBus
from omserver_master.backends.salt.job import CACHE_SECONDS, is_recent, kept_seconds, new_jid, what_is_wrong
from omserver_master.backends.salt.local import LocalSaltBus
from omserver_master.backends.salt.signed import SignedShell
from omserver_master.contract.work import Run

GOOD = {"stdout": "om1 0 0 1.0 1.5 plain 0 0 aGk= - end\nproof - off", "stderr": "", "retcode": 0, "pid": 1}
JID = "20261121000000000001_00000001"


def without_proof() -> SignedShell:
    return SignedShell(LocalSaltBus(Path("/nonexistent")), required=False, key="")


def test_a_good_return_is_read() -> None:
    line, problem = without_proof().believe(JID, "web-01", GOOD)
    assert (line, problem) == ("om1 0 0 1.0 1.5 plain 0 0 aGk= - end", "")


@pytest.mark.parametrize(
    "said",
    [
        "VALUE_TRIMMED",
        GOOD | {"stdout": "VALUE_TRIMMED"},
        {"stdout": "", "stderr": "VALUE_TRIMMED"},
    ],
)
def test_a_trimmed_value_is_never_shown_as_output(said: Any) -> None:
    line, problem = without_proof().believe(JID, "web-01", said)
    assert line is None
    assert "max_event_size" in problem
    assert problem == what_is_wrong(said)


@pytest.mark.parametrize(
    "said", [None, True, 7, "", "'cmd.run_all' is not available.", [], {}, {"stdout": 5}, {"stdout": ""}]
)
def test_anything_else_is_not_believed_and_the_reason_is_given(said: Any) -> None:
    line, problem = without_proof().believe(JID, "web-01", said)
    assert line is None
    assert problem


def heard(tag: str, content: Any) -> list[tuple[str, Any]]:
    bus: SaltBus = LocalSaltBus(Path("/nonexistent"))
    found: list[tuple[str, Any]] = []
    bus._listeners[JID] = lambda minion, content: found.append((minion, content))
    bus._hand_out(tag, content)
    return found


def test_a_return_counts_for_the_minion_of_its_tag() -> None:
    content = {"id": "web-01", "cmd": "_return", "return": GOOD, "jid": JID}
    assert heard(f"salt/job/{JID}/ret/web-01", content) == [("web-01", content)]


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (f"salt/job/{JID}/ret/web-02", {"id": "web-01", "cmd": "_return", "return": GOOD}),
        (f"salt/job/{JID}/ret/web-01", {"id": "web-01", "cmd": "_minion_event", "return": GOOD}),
        (f"salt/job/{JID}/ret/web-01", {"id": "web-01", "cmd": "_return"}),
        (f"salt/job/{JID}/ret/web-01", "return"),
        (f"salt/job/{JID}/new", {"id": "web-01", "cmd": "_return", "return": GOOD}),
        ("salt/job/another/ret/web-01", {"id": "web-01", "cmd": "_return", "return": GOOD}),
    ],
)
def test_other_events_change_nothing(tag: str, content: Any) -> None:
    assert heard(tag, content) == []


def test_job_ids_are_salts_and_never_the_same() -> None:
    ids = {new_jid() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(jid[:20].isdigit() and jid[20] == "_" and is_recent(jid, 60) for jid in ids)
    assert not is_recent("20140101000000000000_1", CACHE_SECONDS)
    assert not is_recent("rubbish", CACHE_SECONDS)
    assert not is_recent(new_jid(), 0)


DEFAULT = {"job_cache": True, "master_job_cache": "local_cache", "keep_jobs": 24, "keep_jobs_seconds": 86400}


@pytest.mark.parametrize(
    ("changed", "seconds"),
    [
        ({}, CACHE_SECONDS),
        ({"job_cache": False}, 0),
        ({"master_job_cache": "redis"}, 0),
        ({"keep_jobs": 1}, 1800),
        ({"keep_jobs_seconds": 60}, 30),
        ({"keep_jobs": 0, "keep_jobs_seconds": 0}, CACHE_SECONDS),
        ({"keep_jobs": "often"}, 0),
    ],
)
def test_a_job_cache_surely_keeps_half_of_what_is_configured(changed: Any, seconds: float) -> None:
    assert kept_seconds(DEFAULT | changed) == seconds


@pytest.mark.parametrize(
    ("setting", "state"),
    [
        ("keep_jobs: 24", "not_started"),
        ("job_cache: False", "unknown"),
        ("master_job_cache: redis", "unknown"),
        ("keep_jobs_seconds: 1", "unknown"),
        ("no jobs", "unknown"),
    ],
)
def test_what_the_job_cache_does_not_know_was_never_sent_only_if_it_keeps_jobs(
    setting: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "" if setting == "no jobs" else f"{setting}\n"
    (tmp_path / "master").write_text(f"root_dir: {tmp_path}\ncachedir: {tmp_path}/cache\n{line}")
    if setting != "no jobs":
        (tmp_path / "cache/jobs").mkdir(parents=True)
    backend = make_backend("salt", "dc1", {"config_dir": str(tmp_path)})
    for name, said in (("why_down", ""), ("listen", None), ("cached", None)):
        monkeypatch.setattr(backend._bus, name, lambda *args, said=said: said)
    handle = f"{datetime.now() - timedelta(seconds=5):%Y%m%d%H%M%S%f}_00000001"
    hosts = [Target("1", "web-01", "web-01", "")]
    answers = dict(backend.reattach(handle, Run("true"), hosts, time.monotonic() + 10))
    backend.close()
    assert answers["1"].state == state


def test_naming_the_engine_does_not_import_salt() -> None:
    code = "import sys, omserver_master.backends.salt.backend; sys.exit('salt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_bus_without_a_master_says_so() -> None:
    assert "configuration" in LocalSaltBus(Path("/nonexistent")).why_down()
